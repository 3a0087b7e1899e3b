"""Channels that the ladder names and that cannot be used."""

import dataclasses

from services.notifier.channel_warnings import warnings
from tests.unit.notifier.harness import CONFIG, with_ladder, without_slack


def test_a_channel_that_is_not_set_up_is_named_with_the_rungs_that_wait_for_it() -> None:
    assert warnings(CONFIG, ("email", "inbox")) == [
        (
            "the ladder pages by slack, which is not set up here: set FIRSTHOUR_SLACK_BOT_TOKEN; "
            "until then pages of rung 2 wait unsent"
        )
    ]


def test_a_rep_without_an_address_on_a_named_channel_is_named() -> None:
    assert warnings(without_slack("bo"), ("slack", "email", "inbox")) == [
        "the ladder pages by slack, and bo cannot be reached by it: give `slack` in team.yaml"
    ]


def test_a_rep_who_gets_no_page_is_not_named() -> None:
    assert warnings(without_slack("gone"), ("slack", "email", "inbox")) == []


def test_a_rung_that_names_no_channel_takes_what_there_is() -> None:
    assert warnings(dataclasses.replace(with_ladder({"at": "0m", "page": "owner"})), ("inbox",)) == []
