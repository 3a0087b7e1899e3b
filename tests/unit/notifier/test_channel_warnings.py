"""Warnings about channels of the ladder that cannot be used."""

import dataclasses

from services.notifier.channel_warnings import warnings
from tests.unit.notifier.harness import CONFIG, with_ladder, without_slack


def test_missing_channel_is_reported_with_its_rungs() -> None:
    assert warnings(CONFIG, ("email", "inbox")) == [
        (
            "the ladder pages by slack, which is not set up here: set FIRSTHOUR_SLACK_BOT_TOKEN; "
            "until then pages of rung 2 wait unsent"
        )
    ]


def test_rep_without_an_address_on_a_channel_is_reported() -> None:
    assert warnings(without_slack("bo"), ("slack", "email", "inbox")) == [
        "the ladder pages by slack, but bo has no address for it: add `slack` in team.yaml"
    ]


def test_rep_who_gets_no_pages_is_not_reported() -> None:
    assert warnings(without_slack("gone"), ("slack", "email", "inbox")) == []


def test_rung_without_channels_is_not_reported() -> None:
    assert warnings(dataclasses.replace(with_ladder({"at": "0m", "page": "owner"})), ("inbox",)) == []
