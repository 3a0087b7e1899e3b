"""A clock or a page that raises an error holds up no other, and is tried again."""

from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from services.notifier import claiming, handlers, recording, slack_updates
from services.notifier.delivery import FAILURE_SECONDS
from services.notifier.domain import firing
from services.notifier.domain.failing import LOGGED_MAX, PUT_OFF, REMEMBERED_MAX, Failing
from services.notifier.domain.message import message_of
from services.notifier.handlers import FIRED_AT_ONCE, fire_due
from tests.unit.notifier.harness import NotifierHarness


def recipients(harness: NotifierHarness) -> int:
    return len(harness.slack.recipients) + len(harness.email.recipients)


def broken_for(lead_id: str, decide: Any) -> Any:
    """Return the decision, which raises an error for one lead."""

    def decided(subject: Any, *arguments: Any) -> Any:
        if subject.lead_id == lead_id:
            raise ZeroDivisionError
        return decide(subject, *arguments)

    return decided


def lines(harness: NotifierHarness) -> list[str]:
    return [*harness.context.failing_clocks.lines(), *harness.context.failing_pages.lines()]


def tick(harness: NotifierHarness) -> datetime | None:
    """Fire once, as the ticker does."""
    try:
        return harness.tick()
    except ZeroDivisionError as error:
        harness.context.failing_clocks.unit_failed(error, harness.clock.real())
        return harness.clock.now


async def wait(harness: NotifierHarness, minutes: int) -> None:
    """Let time pass, as the runners do after errors."""
    for _ in range(minutes):
        harness.clock.advance(minutes=1)
        for _ in range(20):
            if (due := tick(harness)) is None or due > harness.clock.now:
                break
        while await harness.delivery.step():
            harness.clock.advance(seconds=FAILURE_SECONDS)


async def two_leads(harness: NotifierHarness) -> int:
    """Assign two leads, and return the number of messages that tell of them."""
    harness.hear(*(record(lead) for lead in ("a", "b") for record in (harness.qualified, harness.assigned)))
    await harness.wait(minutes=1)
    return recipients(harness)


async def test_other_clocks_fire_and_the_clock_fires_once_it_can(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, fire = await two_leads(harness), firing.fire
    monkeypatch.setattr(handlers, "fire", broken_for("a", fire))
    await harness.wait(minutes=10)
    assert recipients(harness) == first + 1
    [line] = lines(harness)
    assert line.startswith("a clock cannot be handled, for example that of lead a (ZeroDivisionError)")

    monkeypatch.setattr(handlers, "fire", fire)
    await harness.wait(minutes=2)
    assert recipients(harness) == first + 2
    assert lines(harness) == []


async def test_more_clocks_fail_than_a_unit_fires(harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are due before the good one, and are put off together. The time of their next try is all that changes."""
    first, fire = await two_leads(harness), firing.fire
    columns = [row["name"] for row in harness.rows("PRAGMA table_info(notifier_clocks)")]
    copied = ", ".join(
        "'bad ' || n" if name == "lead_id" else "due_at - 1" if name == "due_at" else name for name in columns
    )
    harness.execute(
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {2 * FIRED_AT_ONCE + 7}) "
        f"INSERT INTO notifier_clocks ({', '.join(columns)}) SELECT {copied} FROM notifier_clocks, numbers WHERE lead_id = 'a'"
    )

    def fails(clock: Any, *arguments: Any) -> Any:
        if clock.lead_id.startswith("bad"):
            raise ZeroDivisionError
        return fire(clock, *arguments)

    monkeypatch.setattr(handlers, "fire", fails)
    monkeypatch.setattr(handlers, "_log", SimpleNamespace(error=lambda *arguments, **more: None))
    harness.clock.advance(minutes=10)
    await harness.settle()
    await harness.pass_seconds(2)
    assert recipients(harness) == first + 2
    assert "1000 or more clocks cannot be handled" in lines(harness)[0]
    (left,) = harness.rows("SELECT count(*) AS n, min(due_at) AS due_at FROM notifier_clocks WHERE lead_id LIKE 'bad%'")
    assert left["n"] == 2 * FIRED_AT_ONCE + 7
    assert left["due_at"] > harness.clock.now.timestamp() * 1_000_000


@pytest.mark.parametrize("column", ["pauses", "card", "ladder", "previous"])
async def test_clock_that_cannot_be_read_holds_up_no_other(harness: NotifierHarness, column: str) -> None:
    first = await two_leads(harness)
    harness.execute(f"UPDATE notifier_clocks SET {column} = '[7, \"no' WHERE lead_id = 'a'")
    await harness.wait(minutes=10)
    assert recipients(harness) == first + 1
    assert "that of lead a (" in lines(harness)[0]


async def test_clock_that_fails_the_whole_unit_is_found(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, claim_new = await two_leads(harness), claiming.claim_new

    def fails(unit: Any, pages: Any, *arguments: Any) -> Any:
        if any(page.lead_id == "a" for page in pages):
            raise ZeroDivisionError
        return claim_new(unit, pages, *arguments)

    monkeypatch.setattr(handlers, "claim_new", fails)
    await wait(harness, 12)
    assert recipients(harness) == first + 1
    assert "that of lead a (ZeroDivisionError)" in lines(harness)[0]

    monkeypatch.setattr(handlers, "claim_new", claim_new)
    await wait(harness, 3)
    assert recipients(harness) == first + 2
    assert lines(harness) == []


def broken_message(lead_id: str) -> Any:
    def made(page: Any, *arguments: Any) -> Any:
        if page.lead_id == lead_id:
            raise ZeroDivisionError
        return message_of(page, *arguments)

    return made


async def test_page_that_cannot_be_claimed_holds_up_no_other(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.stop_delivery()
    harness.hear(*(record(lead) for lead in ("a", "b", "c") for record in (harness.qualified, harness.assigned)))
    harness.restart()
    monkeypatch.setattr(claiming, "message_of", broken_message("a"))
    await wait(harness, 2)
    assert recipients(harness) == 2
    assert "a page cannot be handled" in lines(harness)[0]
    assert "cannot be made" in harness.page(0, lead="a")["error"]

    monkeypatch.setattr(claiming, "message_of", message_of)
    await wait(harness, 2)
    assert recipients(harness) == 3
    assert lines(harness) == []


async def test_outcome_that_cannot_be_applied_is_recorded_and_nothing_is_sent_twice(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of one lead is sent, and its clock cannot learn of it. Without a record it would be sent every ten seconds."""
    monkeypatch.setattr(
        recording, "settled", lambda clock, *rest, **more: broken_for("a", firing.settled)(clock, *rest)
    )
    harness.hear(*(record(lead) for lead in ("a", "b") for record in (harness.qualified, harness.assigned)))
    await harness.delivery.step()
    await wait(harness, 3)
    assert [harness.page(0, lead=lead)["state"] for lead in ("a", "b")] == ["sent", "sent"]
    assert recipients(harness) == 2
    assert harness.context.bulkhead.slots().full() == []
    assert sum(harness.context.bulkhead._sending.values()) == 0


async def test_update_that_cannot_be_made_holds_up_no_other(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.hear(*(record(lead) for lead in ("a", "b") for record in (harness.qualified, harness.assigned)))
    await harness.settle()
    await harness.pass_seconds(3)
    harness.hear(harness.accepted("a"), harness.accepted("b"))
    monkeypatch.setattr(slack_updates, "message_of", broken_message("a"))
    monkeypatch.setattr(slack_updates, "_log", SimpleNamespace(error=lambda *arguments, **more: None))
    updates, _ = harness.units.now(partial(slack_updates.claim_updates, context=harness.context))
    assert [update.message.lead_id for update in updates] == ["b"]
    (row,) = harness.rows("SELECT next_at, error FROM notifier_slack_messages WHERE lead_id = 'a'")
    assert row["next_at"] is None
    assert "cannot be made" in row["error"]


def test_oldest_error_is_forgotten_at_the_limit(harness: NotifierHarness) -> None:
    failing, real = Failing("clock"), harness.clock.real()
    for number in range(REMEMBERED_MAX + 1):
        failing.record(f"l{number}", ZeroDivisionError(), real)
    assert failing.lines()[0].startswith(
        f"{REMEMBERED_MAX} or more clocks cannot be handled, for example that of lead l1 "
    )
    assert "l0" not in failing.left_out(real)
    assert failing.left_out(real + PUT_OFF) == failing.left_out(real - PUT_OFF) == frozenset()


async def test_errors_of_many_clocks_are_logged_within_bounds(
    harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []
    leads = [f"l{number}" for number in range(LOGGED_MAX + 5)]
    harness.hear(*(record(lead) for lead in leads for record in (harness.qualified, harness.assigned)))

    def fails(clock: Any, *arguments: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(handlers, "fire", fails)
    monkeypatch.setattr(handlers, "_log", SimpleNamespace(error=lambda *arguments, **more: logged.append(more)))
    harness.clock.now += timedelta(minutes=61)
    harness.units.now(partial(fire_due, context=harness.context))
    assert len(logged) == LOGGED_MAX


def test_record_of_the_router_fails_with_its_clock(harness: NotifierHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "fire", broken_for("a", firing.fire))
    with pytest.raises(ZeroDivisionError):
        harness.hear(harness.qualified("a"), harness.assigned("a"))
