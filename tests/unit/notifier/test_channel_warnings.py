"""Warnings about channels of the ladder that cannot be used."""

import dataclasses

from services.notifier.channel_warnings import warnings
from tests.unit.notifier.harness import CONFIG, with_ladder, with_urgencies, without_slack


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


def test_channel_of_reminders_that_is_not_set_up_is_reported() -> None:
    config = with_urgencies("hot", remind={"by": ["email"]}, missed={"by": ["email", "inbox"]})
    missing = "which is not set up here: set FIRSTHOUR_SMTP_URL and FIRSTHOUR_MAIL_FROM"
    assert warnings(config, ("slack", "inbox"))[-2:] == [
        f"`remind` pages by email, {missing}; until then these pages wait unsent",
        f"`missed` pages by email, {missing}",
    ]


def test_manager_without_an_address_for_reminders_is_reported() -> None:
    of_max, of_bo = (
        dataclasses.replace(with_urgencies("hot", ladder=(), remind={"by": ["slack"]}), team=without_slack(rep).team)
        for rep in ("max", "bo")
    )
    assert [warnings(config, ("slack", "email", "inbox")) for config in (of_max, of_bo)] == [
        ["the ladder pages by slack, but max has no address for it: add `slack` in team.yaml"],
        [],
    ]


def test_rep_who_gets_no_pages_is_not_reported() -> None:
    assert warnings(without_slack("gone"), ("slack", "email", "inbox")) == []


def test_rung_without_channels_is_not_reported() -> None:
    assert warnings(dataclasses.replace(with_ladder({"at": "0m", "page": "owner"})), ("inbox",)) == []
