"""Silent sources: compared with their own history, and told to Marketing."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from firsthour.operations.audit.auditor import AUDITOR, Auditor
from firsthour.operations.audit.silence import WEEK, silences
from services.reporting.sources import delete_old_counts, hour_of
from tests.unit.operations.harness import OperationsHarness

NOW = hour_of(datetime(2026, 12, 1, 14, 30, tzinfo=UTC))


def history(rate: Callable[[int], int], until: int, weeks: int = 5) -> Mapping[int, int]:
    """Return the events of each hour, given the rate by hour before now."""
    return {NOW - ago: rate(ago) for ago in range(until, weeks * WEEK) if rate(ago)}


def steady(rate: int) -> Callable[[int], int]:
    return lambda ago: rate


def by_day(ago: int) -> int:
    """Twelve events an hour from 9 to 17, nothing at night."""
    return 12 if 9 <= (NOW - ago) % 24 < 17 else 0


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (history(steady(10), until=0), None),
        (history(steady(10), until=1), None),  # the last whole hour had events
        (history(steady(10), until=2), (10, 10, 10, 10)),
        (history(steady(2), until=2), None),  # two events an hour may fail to come by chance
        (history(steady(2), until=5), (8, 8, 8, 8)),
        (history(steady(10), until=2, weeks=2), None),  # one week of history is none
        (history(steady(10), until=2, weeks=3), (10, 10)),
        (history(by_day, until=2), (12, 12, 12, 12)),
        (history(by_day, until=22), (60, 60, 60, 60)),  # nothing since yesterday afternoon
        (history(steady(10), until=3 * WEEK), None),  # silent for weeks: no longer a source
        ({}, None),
    ],
)
def test_silence_is_judged_by_the_same_hours_of_the_weeks_before(
    events: Mapping[int, int], expected: tuple[int, ...] | None
) -> None:
    assert [silence.expected for silence in silences({"web": events}, NOW)] == ([] if expected is None else [expected])


def test_quiet_night_is_no_silence() -> None:
    at = NOW + 16  # half past six in the morning
    events = {hour: 12 for hour in range(at - 5 * WEEK, at) if 9 <= hour % 24 < 17}
    assert list(silences({"web": events}, at)) == []


async def test_silent_source_is_found_and_ends_with_its_next_event(harness: OperationsHarness) -> None:
    auditor = harness.system.runners[AUDITOR]
    assert isinstance(auditor, Auditor)
    await harness.ask("ann")
    [(hour, events)] = await harness.rows("SELECT hour, events FROM reporting_sources")
    assert (hour, events) == (hour_of(harness.clock.now), 1)
    await harness.break_by(
        "WITH RECURSIVE past(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM past WHERE n < 800) "
        "INSERT INTO reporting_sources SELECT 'shop', (SELECT min(hour) FROM reporting_sources) - n, 9 FROM past"
    )
    harness.clock.advance(hours=2)
    await auditor.audit()
    found = dict(await harness.rows("SELECT check_name, text FROM notifier_findings"))
    assert found["source_silent shop"] == (
        "the source shop has sent nothing since Tue 01 Dec 10:00 UTC; "
        "in the same hours of the weeks before it sent 9, 9, 9, 9 events"
    )
    registry = harness.system.resources.telemetry.registry
    assert registry.get_sample_value("audit_findings", {"check": "source_silent"}) == 1

    await harness.break_by(f"INSERT INTO reporting_sources VALUES ('shop', {hour + 2}, 1)")
    for _ in range(10):
        await auditor.audit()
    assert registry.get_sample_value("audit_findings", {"check": "source_silent"}) == 0


async def test_old_counts_are_deleted(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    harness.clock.advance(hours=1)
    await harness.ask("ben")
    harness.clock.now += timedelta(days=35, minutes=10)
    assert await harness.system.units.run(lambda unit: delete_old_counts(unit, 10)) == 1
    assert len(await harness.rows("SELECT hour FROM reporting_sources")) == 1
