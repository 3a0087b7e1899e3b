"""The tick that counts running clocks anew, and the statements that clocks cost."""

import dataclasses
from functools import partial
from typing import Any

import pytest

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from schemas.agreement.agreement import Agreement
from schemas.events.leads import Trigger
from schemas.events.pages import PromiseKept, PromiseMissed
from schemas.events.routes import LeadAskedAgain
from schemas.team import Team
from services.notifier.context import HOURS
from services.notifier.handlers import CLOCKS_AT_ONCE, count_anew
from tests.unit.notifier.harness import CONFIG, NotifierHarness
from tests.unit.notifier.router_records import NINE


@pytest.fixture(autouse=True)
def _without_delivery(harness: NotifierHarness) -> None:
    harness.stop_delivery()


def counted_in(name: str, hours: str = "09:00-17:00", version: str = "hours") -> Config:
    """Return a configuration in which every rep has the calendar `office`, and clocks count in `name`."""
    agreement = CONFIG.agreement.model_dump(by_alias=True)
    agreement["calendars"] = {"office": {"timezone": "UTC", "hours": {"mon-sun": [hours]}}}
    agreement["response"]["hot"] = {"touch_within": "1h", "counted_in": name}
    team = CONFIG.team.model_dump(by_alias=True)
    team["reps"] = [{**rep, "calendar": "office"} for rep in team["reps"]]
    return dataclasses.replace(
        CONFIG,
        agreement=Agreement.model_validate(agreement),
        team=Team.model_validate(team),
        version=f"{version}{hours}",
    )


def tick(harness: NotifierHarness) -> Any:
    return harness.units.now(partial(count_anew, context=harness.context))


def promise_ends(harness: NotifierHarness) -> set[int]:
    return {row["promise_at"] for row in harness.rows("SELECT promise_at FROM notifier_clocks")}


def test_clock_in_which_every_minute_counts_reads_no_calendar(harness: NotifierHarness) -> None:
    with harness.units.counting() as executed:
        harness.hear(harness.qualified(), harness.assigned())
        harness.tick()
    assert not [statement for statement in executed if "notifier_hours" in statement]


@pytest.mark.parametrize("leads", [1, 50])
def test_clocks_in_hours_of_work_cost_one_statement_more(harness: NotifierHarness, leads: int) -> None:
    with harness.units.counting() as before:
        harness.hear(*(record(f"a{n}") for n in range(leads) for record in (harness.qualified, harness.assigned)))
    harness.units.config = counted_in("owner")
    with harness.units.counting() as after:
        harness.hear(*(record(f"b{n}") for n in range(leads) for record in (harness.qualified, harness.assigned)))
    assert len(after) == len(before) + 1


def test_tick_counts_clocks_anew_in_bounded_batches(harness: NotifierHarness) -> None:
    harness.units.config = counted_in("owner")
    leads = range(2 * CLOCKS_AT_ONCE + 1)
    harness.hear(*(record(f"l{n}") for n in leads for record in (harness.qualified, harness.assigned)))
    assert promise_ends(harness) == {micros(NINE) + 3_600_000_000}
    assert [tick(harness) for _ in range(3)] == [harness.clock.now, harness.clock.now, None]

    harness.units.config = counted_in("owner", "12:00-17:00")
    with harness.units.counting() as executed:
        assert tick(harness) == harness.clock.now
    assert len(executed) <= 8
    assert len(promise_ends(harness)) == 2
    assert [tick(harness) for _ in range(2)] == [harness.clock.now, None]
    assert promise_ends(harness) == {micros(NINE) + 4 * 3_600_000_000}
    with harness.units.counting() as executed:
        assert tick(harness) is None
    assert len(executed) == 2


def test_stated_absence_wakes_the_tick_and_an_older_record_changes_nothing(harness: NotifierHarness) -> None:
    harness.units.config = counted_in("owner")
    harness.hear(harness.qualified(), harness.assigned())
    tick(harness)
    harness.hear(harness.rep("ana", "away", NINE.replace(hour=11), version=3))
    assert HOURS in harness.units.woken
    tick(harness)
    assert promise_ends(harness) == {micros(NINE.replace(hour=12))}
    harness.hear(harness.rep("ana", "available", version=2))
    tick(harness)
    assert promise_ends(harness) == {micros(NINE.replace(hour=12))}


def test_clock_whose_calendar_has_just_changed_is_not_missed_by_the_old_one(harness: NotifierHarness) -> None:
    harness.units.config = counted_in("owner")
    harness.hear(harness.qualified(), harness.assigned())
    harness.clock.advance(hours=1)
    harness.units.config = counted_in("owner", "12:00-17:00")
    harness.tick()
    assert harness.events(PromiseMissed) == []
    assert promise_ends(harness) == {micros(NINE.replace(hour=13))}


def test_configuration_without_an_effect_on_hours_counts_nothing_anew(harness: NotifierHarness) -> None:
    harness.units.config = counted_in("owner")
    harness.hear(harness.qualified(), harness.assigned())
    tick(harness)
    (before,) = harness.rows("SELECT revision FROM notifier_hours")
    harness.units.config = counted_in("always", version="other")
    assert tick(harness) is None
    assert harness.rows("SELECT revision FROM notifier_hours") == [before]


@pytest.mark.parametrize("counted_from", ["NULL", "submit_at - 1"])
def test_clock_of_an_older_release_counts_every_minute(harness: NotifierHarness, counted_from: str) -> None:
    harness.units.config = counted_in("owner", "12:00-17:00")
    harness.hear(harness.qualified(), harness.assigned())
    two_hours = 7_200_000_000
    harness.execute(
        f"UPDATE notifier_clocks SET touch_within = 0, counted_from = {counted_from},"
        f" promise_at = submit_at + {two_hours}, due_at = submit_at + {two_hours}"
    )
    tick(harness)
    harness.clock.advance(hours=1, minutes=59)
    harness.tick()
    assert harness.events(PromiseMissed) == []
    harness.clock.advance(minutes=1)
    harness.tick()
    assert [event.working_seconds for event in harness.events(PromiseMissed)] == [7200]


def test_touch_after_a_change_of_calendar_is_judged_by_the_new_one(harness: NotifierHarness) -> None:
    harness.units.config = counted_in("owner")
    harness.hear(harness.qualified(), harness.assigned())
    harness.clock.advance(hours=3)
    harness.units.config = counted_in("owner", "12:00-17:00")
    harness.hear(harness.touched())
    (kept,) = harness.events(PromiseKept)
    assert (kept.late, kept.seconds, kept.working_seconds) == (False, 10_800, 0)


def test_request_read_late_counts_in_the_hours_of_the_owner_and_not_of_the_pool(harness: NotifierHarness) -> None:
    config = counted_in("owner", "12:00-17:00")
    team = config.team.model_dump(by_alias=True)
    team["reps"] = [{**rep, "calendar": None if rep["id"] == "bo" else "office"} for rep in team["reps"]]
    harness.units.config = dataclasses.replace(config, team=Team.model_validate(team))
    harness.hear(harness.qualified(), harness.assigned(), harness.touched())
    harness.clock.advance(hours=2, minutes=30)
    routed = harness._routed("l1", "working", 1, "working")
    trigger = Trigger("e2", "form.submitted", NINE, "web")
    submit_at = NINE.replace(hour=10)
    harness.hear(
        LeadAskedAgain(**routed, rep="ana", line="all", urgency="hot", submit_at=submit_at, trigger=trigger, pool="all")
    )
    assert promise_ends(harness) == {micros(NINE.replace(hour=13))}
