"""The budget of a person: messages in a window, and the last one that tells of everything that waits."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.agreement.response import Budget
from schemas.agreement.ways_out import PagerDutyWay
from schemas.events.pages import PageSent
from services.notifier.channels.base import TryAgain
from services.notifier.claiming import claim
from services.notifier.domain.budget import BUNDLED_MAX, Spending
from tests.unit.notifier.harness import CONFIG, FakeChannel, NotifierHarness, with_urgencies
from tests.unit.notifier.router_records import NINE

MINUTE = timedelta(minutes=1)
LADDER = [{"at": "0m", "page": "owner", "by": ["email"]}, {"at": "50m", "page": "owner", "by": ["email"]}]
BY_MAIL = with_urgencies("hot", "warm", budget={"pages": 3, "per": "10m"}, ladder=LADDER)


def spending(pages: int, *minutes: float) -> Spending:
    """Return the spending of ana, given the times of messages in minutes before nine."""
    messages = [("ana", NINE - ago * MINUTE) for ago in minutes]
    return Spending.of(Budget(pages=pages, per=10 * MINUTE), NINE, messages)


@pytest.mark.parametrize(
    ("pages", "minutes", "left"), [(3, (), 3), (3, (1, 2), 1), (3, (1, 2, 3), 0), (3, (1, 2, 3, 4), 0), (3, (1, 10), 2)]
)
def test_messages_of_the_window_are_counted(pages: int, minutes: tuple[float, ...], left: int) -> None:
    assert spending(pages, *minutes).left("ana") == left
    assert spending(pages, *minutes).left("bo") == pages


def test_next_message_is_free_when_the_oldest_leaves_the_window() -> None:
    assert spending(2, 9, 4).free_at("ana") == NINE + MINUTE
    assert spending(2, 9, 4, 1).free_at("ana") == NINE + 6 * MINUTE, "one more than allowed by a race"
    assert Spending.of(None, NINE, []).left("ana") is None


def leads(harness: NotifierHarness, *names: str, urgency: str = "warm", rep: str = "ana") -> None:
    for name in names:
        harness.hear(
            harness.qualified(name, urgency=urgency, submit_at=harness.clock.now),
            harness.assigned(name, rep=rep, urgency=urgency, submit_at=harness.clock.now),
        )


def mails(harness: NotifierHarness) -> list[tuple[str, int]]:
    """Return for each mail its lead, and how many further pages it carries."""
    return [(message.lead_id, len(message.also)) for message in harness.email.messages]


async def test_last_message_of_the_budget_tells_of_everything_that_waits(harness: NotifierHarness) -> None:
    harness.units.config = BY_MAIL
    harness.stop_delivery()
    leads(harness, *(f"w{n}" for n in range(20)))
    harness.context.bulkhead.closed = False
    await harness.settle()
    assert [carried for _, carried in mails(harness)] == [0, 0, 17]
    assert harness.rows("SELECT count(*) AS n FROM notifier_pages WHERE state = 'sent'") == [{"n": 20}]
    assert len(harness.events(PageSent)) == 20
    assert harness.rows("SELECT count(*) AS n FROM notifier_clocks WHERE told_at IS NOT NULL") == [{"n": 20}]


async def test_page_beyond_the_budget_waits_and_joins_the_next_message(harness: NotifierHarness) -> None:
    harness.units.config = BY_MAIL
    for name in ("a", "b", "c"):
        leads(harness, name)
        await harness.settle()
        harness.clock.advance(minutes=1)
    leads(harness, "d", "e")
    leads(harness, "other", rep="bo")
    await harness.settle()
    assert mails(harness) == [("a", 0), ("b", 0), ("c", 0), ("other", 0)]
    page = harness.page(0, lead="d")
    assert (page["state"], page["delay"]) == ("pending", "budget")
    assert page["error"] == "ana has had the messages of the budget; waits until 01 Dec 09:10 UTC"

    await harness.wait(minutes=7)
    assert len(mails(harness)) == 5
    assert mails(harness)[-1][1] == 1, "d and e in one message"
    carrier, carried = sorted(
        (harness.page(0, lead=lead) for lead in "de"), key=lambda page: page["carrier"] is not None
    )
    assert carried["carrier"] == carrier["id"]
    assert carried["provider_id"] == carrier["provider_id"]


async def test_hot_lead_carries_the_others(harness: NotifierHarness) -> None:
    harness.units.config = BY_MAIL
    leads(harness, "a", "b")
    harness.stop_delivery()
    leads(harness, "c", "d")
    leads(harness, "h", urgency="hot")
    harness.context.bulkhead.closed = False
    await harness.settle()
    assert mails(harness)[2:] == [("h", 2)]
    assert all(page.headline.startswith("Warm lead: write to Ada") for page in harness.email.messages[-1].also)


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_message_carries_no_page_that_is_no_longer_true(harness: NotifierHarness, fact: str) -> None:
    harness.units.config = BY_MAIL
    leads(harness, "a", "b", "c")
    await harness.settle()
    leads(harness, "d", "e")
    harness.hear(getattr(harness, fact)("d"))
    await harness.wait(minutes=11)
    assert ("e", 0) in mails(harness)
    assert harness.page(0, lead="d")["state"] == "cancelled"


async def test_refused_message_does_not_count_and_its_pages_are_sent_again(harness: NotifierHarness) -> None:
    harness.units.config = BY_MAIL
    harness.stop_delivery()
    leads(harness, *(f"w{n}" for n in range(8)))
    harness.context.bulkhead.closed = False
    harness.email.answers = [TryAgain(None, "busy")] * 3
    await harness.wait(minutes=1)
    assert sum(1 + carried for _, carried in mails(harness)[3:]) == 8
    assert len(mails(harness)) == 6
    attempts = harness.rows("SELECT count(*) AS n FROM notifier_attempts WHERE outcome = 'try_again'")
    assert attempts == [{"n": 8}]


async def test_pages_of_a_crashed_sender_are_sent_again_within_the_budget(harness: NotifierHarness) -> None:
    harness.units.config = BY_MAIL
    harness.stop_delivery()
    leads(harness, *(f"w{n}" for n in range(8)))
    harness.context.bulkhead.closed = False
    harness.units.now(lambda unit: claim(unit, harness.context, 20))
    assert harness.rows("SELECT count(*) AS n FROM notifier_pages WHERE state = 'sending'") == [{"n": 8}]
    harness.restart()
    harness.clock.advance(seconds=11)
    await harness.settle()
    assert [carried for _, carried in mails(harness)] == [0, 0, 5]


async def test_claim_with_a_budget_takes_six_statements_for_any_number_of_pages(harness: NotifierHarness) -> None:
    harness.units.config = BY_MAIL
    harness.stop_delivery()
    leads(harness, *(f"w{n}" for n in range(200)))
    harness.context.bulkhead.closed = False
    with harness.units.counting() as statements:
        result = harness.units.now(lambda unit: claim(unit, harness.context, 64))
    assert len(statements) == 6
    assert [len(one.fellows) for one in result.claims] == [0, 0, BUNDLED_MAX]


@pytest.mark.parametrize("at", [NINE, NINE + timedelta(days=300)])
async def test_budget_counts_by_an_index(harness: NotifierHarness, at: datetime) -> None:
    plans: list[Any] = harness.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM notifier_pages WHERE person IN ('ana') AND claimed_at IS NOT NULL "
        "AND carrier IS NULL AND claimed_at > 5"
    )
    assert "notifier_messages (person=? AND claimed_at>?)" in plans[0]["detail"]


async def test_channels_to_machines_have_no_budget_and_one_message_for_each_page(tmp_path: Path) -> None:
    oncall, email = FakeChannel("oncall"), FakeChannel("email")
    harness = NotifierHarness(tmp_path / "machines.db", [oncall, email])
    ladder = [{"at": "0m", "page": "owner", "by": ["oncall"]}, {"at": "1m", "page": "owner", "by": ["email"]}]
    agreement = with_urgencies("hot", "warm", budget={"pages": 1, "per": "1h"}, ladder=ladder).agreement
    ways = {"oncall": PagerDutyWay.model_validate({"kind": "pagerduty", "routing_key": {"env": "KEY"}})}
    harness.units.config = replace(CONFIG, agreement=agreement.model_copy(update={"channels": ways}))
    leads(harness, "a", "b", "c")
    await harness.settle()
    assert [(message.lead_id, message.also) for message in oncall.messages] == [("a", ()), ("b", ()), ("c", ())]

    await harness.wait(minutes=2)
    assert [len(message.also) for message in email.messages] == [2], "the pages to the machine were not counted"
    harness.units.close()


def test_messages_ahead_of_a_clock_that_was_set_back_are_not_counted() -> None:
    assert spending(1, -300).left("ana") == 1


def test_message_of_a_moment_ahead_holds_a_page_no_longer_than_one_of_now() -> None:
    ahead = spending(1, -5)
    assert ahead.left("ana") == 0
    assert ahead.free_at("ana") == spending(1, 0).free_at("ana")


# --- without a budget: pages about the queue --------------------------------------------------------------------------


def wait_for_owner(harness: NotifierHarness, *names: str) -> None:
    """Let these leads wait in the queue. Their manager is alerted a while later."""
    for name in names:
        harness.hear(
            harness.qualified(name, submit_at=harness.clock.now), harness.queued(name, submit_at=harness.clock.now)
        )


async def test_alerts_of_many_leads_that_wait_are_one_message_without_a_budget(harness: NotifierHarness) -> None:
    wait_for_owner(harness, *(f"w{n}" for n in range(60)))
    await harness.wait(minutes=16)
    sent = [(len(message.also), message.kind) for channel in harness.channels.values() for message in channel.messages]
    assert sent == [(0, "queued"), (58, "queued")]
    assert harness.rows("SELECT count(*) AS n FROM notifier_pages WHERE state = 'sent'") == [{"n": 60}]


async def test_pages_to_owners_are_not_counted_without_a_budget(harness: NotifierHarness) -> None:
    wait_for_owner(harness, *(f"w{n}" for n in range(9)))
    leads(harness, *(f"o{n}" for n in range(9)))
    await harness.wait(minutes=16)
    kinds = [message.kind for channel in harness.channels.values() for message in channel.messages]
    assert kinds.count("owner") >= 9
    assert kinds.count("queued") == 2


async def test_alert_soon_after_the_last_one_waits_and_joins_the_next(harness: NotifierHarness) -> None:
    for n in range(5):
        wait_for_owner(harness, f"w{n}")
        await harness.wait(minutes=1)
    await harness.wait(minutes=25)
    sent = [len(message.also) for channel in harness.channels.values() for message in channel.messages]
    assert sum(1 + carried for carried in sent) == 5
    assert len(sent) < 5
