"""Promises counted in hours of work: weekends, changes of the clock, leave, reassignment and changed calendars."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import decode, event_of
from schemas.events.pages import PromiseKept, PromiseMissed
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO: Final = "cto@prospect.example"
CALENDARS: Final = {
    "berlin": {"timezone": "Europe/Berlin", "hours": {"mon-fri": ["09:00-18:00"]}},
    "office": {"timezone": "UTC", "hours": {"mon-fri": ["09:00-17:00"]}},
    "new-york": {"timezone": "America/New_York", "hours": {"mon-fri": ["09:00-17:00"]}},
    "always-there": {"timezone": "Europe/Berlin", "hours": {"mon-sun": ["00:00-24:00"]}},
}


def agreement(counted_in: str = "owner", **response: Any) -> dict[str, Any]:
    hot = {"touch_within": "1h", "counted_in": counted_in}
    ladder = [{"at": "0m", "page": "owner", "by": ["slack"]}]
    return {"calendars": CALENDARS, "response": {"hot": hot, "ladder": ladder, **response}}


def team(**calendars: str) -> dict[str, Any]:
    """Give reps these calendars, and make them the members of the pool."""
    changes = [{"id": rep, "calendar": name.replace("_", "-")} for rep, name in calendars.items()]
    return reps(*changes, pool=tuple(calendars))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


async def due_at(world: World) -> datetime:
    return datetime.fromisoformat((await world.lead(CTO))["clock"]["due_at"])


async def outcomes(world: World) -> list[tuple[str, float | None, float | None]]:
    """Return the outcomes of promises, each with its hours: every hour, and those of work."""
    rows = await world.rows("SELECT body FROM reporting_history WHERE type LIKE 'promise.%' ORDER BY position")
    events = [event_of(decode(unpacked(row[0]))) for row in rows]
    return [
        (event.TYPE, (event.seconds or 0) / 3600, (event.working_seconds or 0) / 3600)
        for event in events
        if isinstance(event, PromiseKept | PromiseMissed)
    ]


async def test_saturday_with_one_hour_is_due_monday_at_ten(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement(), team=team(ana="office"))
    world.clock.now = utc(2026, 12, 5, 16, 30)
    await world.submit_form(email=CTO)
    assert await due_at(world) == utc(2026, 12, 7, 10)


@pytest.mark.both_profiles
async def test_friday_evening_in_berlin_is_due_on_monday_morning(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement(), team=team(ana="berlin"))
    world.clock.now = utc(2026, 12, 4, 16, 50)  # 17:50 in Berlin
    await world.submit_form(email=CTO)
    assert await due_at(world) == utc(2026, 12, 7, 8, 50)

    await world.wait(days=2, hours=15, minutes=59)
    assert await outcomes(world) == []
    await world.wait(minutes=1)
    assert await outcomes(world) == [("promise.missed", 64, 1)]
    await world.wait(minutes=30)
    await world.touch(CTO, by="ana")
    assert await outcomes(world) == [("promise.missed", 64, 1), ("promise.kept", 64.5, 1.5)]


async def test_hour_that_comes_twice_counts_twice(open_world: OpenWorld) -> None:
    night = {"night": {"timezone": "Europe/Berlin", "hours": {"sun": ["01:00-06:00"]}}}
    changes = agreement("night", hot={"touch_within": "3h", "counted_in": "night"}) | {"calendars": night}
    world = await open_world(agreement=changes)
    world.clock.now = utc(2026, 10, 24, 23, 30)  # 01:30 on the night in which daylight saving ends
    await world.submit_form(email=CTO)
    assert await due_at(world) == utc(2026, 10, 25, 2, 30)  # 03:30 in Berlin, four hours of the clock on the wall later
    await world.wait(hours=2)
    await world.touch(CTO, by="ana")
    assert await outcomes(world) == [("promise.kept", 2, 2)]


async def test_leave_in_the_middle_of_a_clock_does_not_count(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement(), team=team(ana="office"))
    await world.submit_form(email=CTO)  # Tuesday, 9:00
    await world.wait(minutes=20)
    await world.is_away("ana", hours=3)
    assert await due_at(world) == utc(2026, 12, 1, 13)
    await world.wait(hours=1)
    await world.is_back("ana")
    assert await due_at(world) == utc(2026, 12, 1, 11)

    away = {"from": "2026-12-01T10:30:00Z", "to": "2026-12-02T12:00:00Z"}
    await world.change("team", reps({"id": "ana", "calendar": "office", "away": [away]}, pool=("ana",)))
    assert await due_at(world) == utc(2026, 12, 2, 12, 30)
    await world.wait(days=1, hours=1, minutes=55)
    await world.touch(CTO, by="ana")  # at 12:15
    [(_, hours, working_hours)] = await outcomes(world)
    assert (hours, working_hours) == (27.25, 0.75)


async def test_change_of_calendar_counts_running_clocks_anew(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement(), team=team(ana="office", bo="berlin"))
    await world.submit_form(email=CTO)
    assert await due_at(world) == utc(2026, 12, 1, 10)

    later = {"office": {"timezone": "UTC", "hours": {"mon-fri": ["13:00-17:00"]}}}
    await world.change("agreement", agreement() | {"calendars": CALENDARS | later})
    assert await due_at(world) == utc(2026, 12, 1, 14)
    await world.wait(hours=1)
    assert await outcomes(world) == [], "the old time passed"

    await world.change("agreement", agreement(hot={"touch_within": "2h", "counted_in": "always"}))
    assert await due_at(world) == utc(2026, 12, 1, 10), "the promise is that of the start, in the calendar of now"


async def test_reassignment_keeps_the_time_counted_so_far(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement(), team=team(ana="office", bo="new-york"))
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana"
    await world.wait(minutes=40)
    await world.act(CTO, "assign", by="max", rep="bo")
    await world.settle()
    assert await world.owner_of(CTO) == "bo"
    assert await due_at(world) == utc(2026, 12, 1, 14, 20), "20 minutes of the day in New York, which begins at 14:00"
    await world.wait(hours=4, minutes=40)
    assert await outcomes(world) == [("promise.missed", 5 + 1 / 3, 1)]


async def test_snooze_pauses_the_clock_if_the_agreement_says_so(open_world: OpenWorld) -> None:
    pauses = {"snooze": {"at_most": "1d"}}
    world = await open_world(agreement=agreement(pauses=pauses), team=team(ana="office"))
    await world.submit_form(email=CTO)
    await world.wait(minutes=30)
    for until, status in (("2026-12-01T09:29:00Z", 422), ("2026-12-03T10:00:00Z", 422), ("2026-12-01T12:00:00Z", 200)):
        answer = await world.act(CTO, "snooze", by="ana", until=until)
        assert answer.status_code == status, answer.text
    assert (await world.act(CTO, "snooze", by="bo", until="2026-12-01T12:00:00Z")).status_code == 403
    await world.settle()
    assert await due_at(world) == utc(2026, 12, 1, 12, 30)
    await world.wait(hours=2, minutes=45)
    await world.touch(CTO, by="ana")
    assert await outcomes(world) == [("promise.kept", 3.25, 0.75)]
    assert (await world.act(CTO, "snooze", by="ana", until="2026-12-01T15:00:00Z")).status_code == 409


async def test_snooze_without_any_time_left_is_refused(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement("always", pauses={"snooze": {"at_most": "30m"}}))
    await world.submit_form(email=CTO)
    effects = []
    for minutes in (10, 20):  # into the first snooze, and to the end of the second one
        until = (world.clock.business() + timedelta(minutes=25)).isoformat()
        answer = await world.act(CTO, "snooze", by="ana", until=until)
        await world.settle()
        effects.append((answer.json()["effect"], (await world.lead(CTO))["clock"]["paused_until"]))
        await world.wait(minutes=minutes)
    assert effects == [
        ("snoozed until 2026-12-01T09:25:00Z", "2026-12-01T09:25:00Z"),
        ("snoozed until 2026-12-01T09:30:00Z", "2026-12-01T09:30:00Z"),
    ]
    assert (await world.lead(CTO))["clock"]["paused_until"] is None
    before = await world.event_types_of(CTO)
    until = (world.clock.business() + timedelta(minutes=5)).isoformat()
    answer = await world.act(CTO, "snooze", by="ana", until=until)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "The agreement allows no more snoozing of this lead; nothing was changed.",
    )
    await world.settle()
    assert await world.event_types_of(CTO) == before


async def test_snooze_that_pauses_nothing_ends_with_the_promise(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(pool=("ana",)))
    await world.submit_form(email=CTO)
    answer = await world.act(CTO, "snooze", by="ana", until="2027-06-01T09:00:00Z")
    assert answer.json()["effect"] == "snoozed until 2026-12-01T10:00:00Z"
    await world.settle()
    clock = (await world.lead(CTO))["clock"]
    assert (clock["paused_until"], clock["snoozed_until"]) == (None, "2026-12-01T10:00:00Z")
    await world.wait(hours=2)
    assert (await world.lead(CTO))["clock"]["snoozed_until"] is None
    owner = str(await world.owner_of(CTO))
    answer = await world.act(CTO, "snooze", by=owner, until="2027-06-01T09:00:00Z")
    assert (answer.status_code, "The promised time is over" in answer.json()["detail"]) == (409, True)


async def test_clock_waits_for_the_prospect_after_an_attempt_in_writing(open_world: OpenWorld) -> None:
    ladder = [{"at": "0m", "page": "owner", "by": ["slack"]}, {"at": "20m", "page": "manager", "by": ["slack"]}]
    pauses = {"waiting_for_prospect": {"at_most": "1d"}}
    changes = agreement("always", stopped_by="conversation", pauses=pauses, ladder=ladder)
    world = await open_world(agreement=changes)
    await world.submit_form(email=CTO)
    await world.wait(minutes=10)
    await world.act(CTO, "touch", by="ana", channel="phone", answered=False)
    await world.settle()
    assert await due_at(world) == utc(2026, 12, 1, 10), "a call without an answer waits for nothing"
    await world.act(CTO, "touch", by="ana", channel="email", answered=False)
    await world.settle()
    assert await due_at(world) == utc(2026, 12, 2, 10)
    await world.wait(hours=20)
    assert world.slack_recipients == ["ana"]
    await world.touch(CTO, by="ana", answered=True)
    assert await outcomes(world) == [("promise.kept", 20 + 1 / 6, 1 / 6)]


async def test_clock_of_a_waiting_lead_counts_the_hours_of_its_pool(open_world: OpenWorld) -> None:
    world = await open_world(agreement=agreement(), team=team(ana="office", bo="new-york"))
    await world.is_away("ana", days=5)
    await world.is_away("bo", hours=6)
    world.clock.now = utc(2026, 12, 1, 14, 30)
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) is None
    assert await due_at(world) == utc(2026, 12, 1, 16), "one hour after Bo is back"
    await world.is_back("ana")
    assert await world.owner_of(CTO) == "ana"
    assert await due_at(world) == utc(2026, 12, 1, 15, 30)
