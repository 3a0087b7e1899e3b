"""Claiming of pages: leases, cancellations and the pace of a channel."""

from datetime import timedelta

import pytest

from firsthour.runtime.storage.unit import StorageError
from services.notifier.channels.base import TryAgain
from services.notifier.claiming import claim
from services.notifier.context import DELIVERY
from services.notifier.domain.bulkhead import SENDING_AT_ONCE
from services.notifier.domain.page import LEASE
from tests.unit.notifier.harness import NotifierHarness, with_ladder, with_urgencies, without_slack

NOT_NOW = TryAgain(None, "busy")


async def test_page_without_room_stays_pending_and_wakes_the_delivery(harness: NotifierHarness) -> None:
    harness.stop_delivery()
    harness.hear(harness.qualified(), harness.assigned())
    assert harness.page(0)["state"] == "pending"
    assert DELIVERY in harness.units.woken
    harness.restart()
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    assert harness.page(0)["state"] == "sent"


async def test_claim_takes_four_statements_for_any_number_of_pages(harness: NotifierHarness) -> None:
    harness.stop_delivery()
    for n in range(15):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep=["ana", "bo"][n % 2]))
    harness.restart()
    with harness.units.counting() as statements:
        result = harness.units.now(lambda unit: claim(unit, harness.context, 20))
    assert len(result.claims) == 2  # the others wait for the pace of Slack
    assert len(statements) == 4


async def test_outdated_absence_does_not_cancel_a_page(harness: NotifierHarness) -> None:
    harness.hear(harness.rep("ana", "away", version=1))
    harness.hear(harness.qualified(), harness.assigned(rep_version=2))
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    harness.hear(harness.rep("ana", "available", version=2))
    harness.hear(harness.rep("ana", "away", version=3))
    await harness.wait(minutes=10)
    assert harness.page(1)["error"] == "ana is away"


async def test_newer_version_of_availability_wins_over_a_later_time(harness: NotifierHarness) -> None:
    harness.clock.advance(hours=5)
    away = harness.rep("ana", "away", version=1)
    harness.clock.advance(hours=-5)
    harness.hear(away)
    harness.hear(harness.rep("ana", "available", version=2))
    harness.hear(harness.qualified(), harness.assigned(rep_version=2))
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]


async def test_page_without_any_address_is_cancelled_with_the_reason(harness: NotifierHarness) -> None:
    harness.units.config = without_slack("ana")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=10)
    assert harness.email.recipients == ["Ana"]
    assert harness.slack.recipients == ["Max"], "the rung without a recipient is passed at once"
    assert harness.page(1)["error"] == "ana has no address in team.yaml for slack"


async def test_page_is_sent_when_the_lease_of_a_crashed_sender_ends(harness: NotifierHarness) -> None:
    harness.stop_delivery()
    harness.hear(harness.qualified(), harness.assigned())
    harness.restart()
    assert len(harness.units.now(lambda unit: claim(unit, harness.context, 20)).claims) == 1
    harness.restart()  # the process crashes before it sends
    await harness.settle()
    assert harness.slack.messages == []
    harness.clock.advance(seconds=LEASE.total_seconds() + 1)
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    tried = harness.rows("SELECT n, outcome FROM notifier_attempts ORDER BY n")
    assert [(row["n"], row["outcome"]) for row in tried] == [(1, "unknown"), (2, "sent")]


async def test_page_is_not_claimed_again_during_its_lease(harness: NotifierHarness) -> None:
    harness.stop_delivery()
    harness.hear(harness.qualified(), harness.assigned())
    harness.restart()
    harness.units.now(lambda unit: claim(unit, harness.context, 20))
    harness.clock.advance(seconds=LEASE.total_seconds() - 1)
    assert harness.units.now(lambda unit: claim(unit, harness.context, 20)).claims == ()


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_page_is_not_claimed_after_the_event_that_ends_it(harness: NotifierHarness, fact: str) -> None:
    harness.stop_delivery()
    harness.hear(harness.qualified(), harness.assigned())
    harness.hear(getattr(harness, fact)())
    harness.restart()
    await harness.pass_seconds(60)
    assert harness.slack.messages + harness.email.messages == []
    assert harness.page(0)["state"] == "cancelled"


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_page_being_sent_is_not_retried_after_the_event_that_ends_it(harness: NotifierHarness, fact: str) -> None:
    harness.slack.answers = [NOT_NOW]
    harness.hear(harness.qualified(), harness.assigned())  # claimed, and being sent
    harness.hear(getattr(harness, fact)())
    await harness.pass_seconds(60)
    assert len(harness.slack.messages) == 1
    assert harness.page(0)["state"] == "cancelled"
    assert harness.page(0)["error"]


async def test_deactivated_rep_is_not_paged(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(rep="gone"))
    await harness.settle()
    assert harness.slack.messages == []
    assert harness.page(0)["error"] == "gone is deactivated"


async def test_away_rep_is_not_paged_until_the_absence_ends(harness: NotifierHarness) -> None:
    owner = {"page": "owner", "by": "slack"}
    harness.units.config = with_ladder({"at": "0m", **owner}, {"at": "1m", "page": "manager"}, {"at": "10m", **owner})
    harness.hear(harness.rep("ana", "away", harness.clock.now + timedelta(minutes=5)))
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.page(0)["error"] == "ana is away"
    await harness.wait(minutes=10)
    assert [m.rung for m in harness.slack.messages] == [1, 2]


async def test_older_availability_does_not_replace_a_newer_one(harness: NotifierHarness) -> None:
    here = harness.rep("ana", "available")
    harness.clock.advance(seconds=1)
    harness.hear(harness.rep("ana", "deactivated"))
    harness.hear(here)
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.slack.recipients == ["Max"]


async def test_manager_is_paged_after_the_owner_accepted(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(), harness.accepted())
    await harness.wait(minutes=20)
    (page,) = harness.slack.messages
    assert (page.person_name, page.kind, page.owner_name, page.rung) == ("Max", "manager", "Ana", 2)


async def test_reminder_belongs_to_the_thread_of_the_first_page(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=20)
    first, second, manager = harness.slack.messages
    assert (first.thread_id, second.thread_id, manager.thread_id) == (None, first.page_id, None)


async def test_slack_pages_one_person_once_per_second(harness: NotifierHarness) -> None:
    for n in range(3):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}"))
    harness.hear(harness.qualified("other"), harness.assigned("other", rep="bo"))
    await harness.settle()
    assert sorted(harness.slack.recipients) == ["Ana", "Bo"]
    await harness.pass_seconds(1)
    assert len(harness.slack.messages) == 3
    await harness.pass_seconds(1)
    assert len(harness.slack.messages) == 4
    assert harness.email.messages == []


async def test_page_that_slack_would_delay_over_30_seconds_goes_by_mail(harness: NotifierHarness) -> None:
    for n in range(40):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}"))
    await harness.settle()
    assert (len(harness.slack.messages), len(harness.email.messages)) == (1, 10)
    await harness.pass_seconds(30)
    assert (len(harness.slack.messages), len(harness.email.messages)) == (30, 10)


async def test_failed_claim_delays_the_page_and_does_not_lose_it(harness: NotifierHarness) -> None:
    harness.stop_delivery()
    harness.hear(harness.qualified(), harness.assigned())
    harness.restart()
    harness.units.failing = 1
    with pytest.raises(StorageError):
        await harness.delivery.step()
    await harness.pass_seconds(1)
    assert harness.slack.recipients == ["Ana"]


async def test_first_page_of_a_hot_lead_is_claimed_before_the_rest(harness: NotifierHarness) -> None:
    harness.units.config = with_urgencies("hot", "warm")
    harness.stop_delivery()
    for n in range(3):
        harness.hear(harness.qualified(f"w{n}", urgency="warm"), harness.assigned(f"w{n}", urgency="warm"))
    harness.hear(harness.qualified("h"), harness.assigned("h"))
    harness.restart()
    await harness.pass_seconds(4)
    leads = [message.lead_id for message in harness.slack.messages]
    assert (leads[0], sorted(leads)) == ("h", ["h", "w0", "w1", "w2"])


async def test_page_that_waits_for_a_rate_limit_says_so(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified("l1"), harness.assigned("l1"), harness.qualified("l2"), harness.assigned("l2"))
    assert harness.page(0, lead="l2")["error"] == "slack accepts one page per second to a person"
    assert counted(harness, "slack", "rate_limit") == 1

    await harness.pass_seconds(1)
    assert (harness.page(0, lead="l2")["error"], harness.page(0, lead="l2")["delay"]) == (None, "")


def counted(harness: NotifierHarness, channel: str, reason: str) -> float | None:
    labels = {"channel": channel, "reason": reason}
    return harness.telemetry.registry.get_sample_value("pages_delayed_total", labels)


def occupied(harness: NotifierHarness, channel: str) -> None:
    """Use up every slot of this channel."""
    for _ in range(SENDING_AT_ONCE):
        harness.context.bulkhead.began(channel)


async def test_busy_channel_holds_its_own_pages_only(harness: NotifierHarness) -> None:
    harness.units.config = with_ladder({"at": "0m", "page": "owner", "by": ["slack"]})
    occupied(harness, "slack")
    for n in range(80):
        harness.hear(harness.qualified(f"s{n}"), harness.assigned(f"s{n}", rep="bo"))
    harness.units.config = with_ladder({"at": "0m", "page": "owner", "by": ["email"]})
    harness.stop_delivery()
    harness.hear(harness.qualified("e"), harness.assigned("e"))
    harness.context.bulkhead.closed = False
    await harness.settle()
    assert (harness.email.recipients, harness.slack.recipients) == (["Ana"], [])
    assert harness.page(0, lead="s0")["error"] == "slack is busy with earlier pages"
    assert counted(harness, "slack", "busy") == 80

    harness.context.bulkhead.ended("slack")
    await harness.settle()
    assert harness.slack.recipients == ["Bo"]


async def test_page_goes_over_its_second_channel_after_30_seconds_of_a_busy_one(harness: NotifierHarness) -> None:
    occupied(harness, "slack")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.pass_seconds(29)
    assert harness.email.messages == []
    await harness.pass_seconds(1)
    assert harness.email.recipients == ["Ana"]


async def test_look_at_a_busy_channel_does_not_depend_on_its_waiting_pages(harness: NotifierHarness) -> None:
    harness.units.config = with_ladder({"at": "0m", "page": "owner", "by": ["email"]})
    occupied(harness, "email")
    for n in range(70):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep="bo"))
    with harness.units.counting() as statements:
        result = harness.units.now(lambda unit: claim(unit, harness.context, 20))
    assert (result.claims, result.more, len(statements)) == ((), False, 1)


async def test_new_lead_and_its_page_are_stored_and_claimed_by_four_statements(harness: NotifierHarness) -> None:
    with harness.units.counting() as statements:
        harness.hear(harness.qualified(), harness.assigned())
    assert [statement.split(" ", 1)[0] for statement in statements] == ["SELECT", "SELECT", "INSERT", "INSERT"]
    assert harness.page(0)["state"] == "sending"
