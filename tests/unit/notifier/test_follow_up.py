"""The ladder does not end in silence: reminders after the last rung, missed promises, and leads that wait for an owner."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from firsthour.kernel.config import Config
from schemas.agreement.agreement import Agreement
from schemas.agreement.response import Reminder
from services.notifier.channels.base import TryAgain
from services.notifier.domain.follow_up import FollowUp, follow_up_from_json, follow_up_to_json
from services.notifier.domain.page import MISSED
from tests.unit.notifier.harness import CONFIG, NotifierHarness

OWNER = {"at": "0m", "page": "owner", "by": "slack"}
MANAGER = {"at": "20m", "page": "manager", "by": "slack"}


def with_response(**response: Any) -> Config:
    """Return the configuration with a ladder of two rungs, and these fields of `response`."""
    agreement = CONFIG.agreement.model_dump(by_alias=True)
    agreement["response"] |= {"ladder": [OWNER, MANAGER]} | response
    return dataclasses.replace(CONFIG, agreement=Agreement.model_validate(agreement), version="v2")


def kinds(harness: NotifierHarness) -> list[str]:
    return [message.kind for message in harness.slack.messages]


async def test_manager_is_reminded_until_a_touch(harness: NotifierHarness) -> None:
    harness.units.config = with_response(remind={"every": "2h", "by": "slack"}, missed={"by": "email"})
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(hours=2, minutes=19)
    assert kinds(harness) == ["owner", "manager"]
    assert [message.kind for message in harness.email.messages] == ["missed"]
    await harness.wait(minutes=1)
    assert (kinds(harness)[2:], harness.slack.recipients[2:]) == (["reminder"], ["Max"])
    await harness.wait(hours=4)
    assert kinds(harness)[2:] == ["reminder"] * 3
    harness.hear(harness.touched())
    await harness.wait(hours=5)
    assert len(kinds(harness)) == 5


async def test_promise_without_any_rung_is_missed_and_the_manager_reminded(harness: NotifierHarness) -> None:
    harness.units.config = with_response(ladder=[])
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(hours=3)
    assert kinds(harness) == ["missed", "reminder"]


@pytest.mark.parametrize("record", ["recycled", "opted_out"])
async def test_reminders_end_when_the_lead_leaves_sales(harness: NotifierHarness, record: str) -> None:
    harness.units.config = with_response()
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(hours=3)
    count = kinds(harness).count("reminder")
    harness.hear(getattr(harness, record)())
    await harness.wait(hours=5)
    assert (count, kinds(harness).count("reminder")) == (1, 1)


async def test_owner_without_a_manager_is_reminded_after_accepting(harness: NotifierHarness) -> None:
    harness.units.config = with_response()
    harness.hear(harness.qualified(), harness.assigned(rep="max"), harness.accepted(rep="max"))
    await harness.wait(hours=3)
    assert (kinds(harness)[-1], harness.slack.recipients[-1]) == ("reminder", "Max")


async def test_reminders_replace_each_other_while_no_channel_answers(harness: NotifierHarness) -> None:
    harness.units.config = with_response(remind={"every": "1h", "by": "slack"}, missed={"by": "slack"})
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=15)
    harness.slack.always = TryAgain(None, "no answer")
    await harness.wait(hours=6)
    waiting = harness.rows("SELECT kind FROM notifier_pages WHERE state IN ('pending', 'sending')")
    assert [row["kind"] for row in waiting] == ["reminder"]
    harness.slack.always = None
    harness.slack.messages.clear()
    await harness.wait(minutes=2)
    assert kinds(harness) == ["reminder"]


async def test_missed_promise_is_told_once_and_survives_the_change_of_owner(harness: NotifierHarness) -> None:
    harness.units.config = with_response(missed={"by": "email"})
    harness.email.always = TryAgain(None, "no answer")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=61)
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2, reassignments=1))
    harness.email.always = None
    harness.email.messages.clear()
    await harness.wait(minutes=5)
    [missed] = harness.email.messages
    assert (missed.kind, missed.person_name, missed.owner_name) == ("missed", "Max", "Bo")


async def test_missed_promise_is_bundled_into_a_page_of_that_moment(harness: NotifierHarness) -> None:
    harness.units.config = with_response(ladder=[OWNER, {**MANAGER, "at": "2h"}])
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=61)
    assert kinds(harness) == ["owner", "manager"]
    assert harness.page(MISSED)["error"] == "bundled into rung 1"


async def test_lead_that_waits_is_told_to_the_manager_of_its_pool(harness: NotifierHarness) -> None:
    harness.units.config = with_response(remind={"every": "3h"})
    harness.hear(harness.qualified(), harness.queued())
    await harness.wait(minutes=10)
    harness.hear(harness.queued())  # for another reason: it waits since the first
    await harness.wait(minutes=4)
    assert kinds(harness) == []
    await harness.wait(minutes=1)
    assert (kinds(harness), harness.slack.recipients) == (["queued"], ["Max"])
    await harness.wait(hours=3)
    assert kinds(harness) == ["queued", "missed", "reminder"]
    harness.hear(harness.assigned())
    await harness.wait(minutes=5)
    assert kinds(harness)[3:] == ["owner"]


async def test_lead_that_waits_again_is_told_again(harness: NotifierHarness) -> None:
    harness.units.config = with_response()
    harness.hear(harness.qualified(), harness.queued())
    await harness.wait(minutes=16)
    harness.hear(harness.assigned())
    await harness.wait(minutes=1)
    harness.hear(harness.released(), harness.queued(epoch=1))
    await harness.wait(minutes=16)
    assert kinds(harness) == ["queued", "owner", "lost", "queued"]


def test_reminders_have_a_least_spacing() -> None:
    with pytest.raises(ValidationError, match="5 minutes apart"):
        Reminder.model_validate({"every": "1m"})


def test_stored_follow_up_is_read_unchanged() -> None:
    follow_up = FollowUp(timedelta(hours=2), ("slack",), ("email", "inbox"))
    assert follow_up_from_json(follow_up_to_json(follow_up)) == follow_up
