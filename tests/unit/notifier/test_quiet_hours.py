"""Quiet hours: which pages wait, until when, and what the ladder knows of it."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from firsthour.kernel.config import Config
from schemas.agreement.agreement import Agreement
from schemas.agreement.calendars import Calendar
from schemas.agreement.response import QuietHours
from schemas.team import Team
from services.notifier.context import NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import Page
from services.notifier.domain.quiet_hours import quiet_until
from tests.unit.notifier.harness import CONFIG, NotifierHarness

CALENDARS = {
    "office": {"timezone": "UTC", "hours": {"mon-fri": ["09:00-12:00", "13:00-18:00"]}},
    "late": {"timezone": "UTC", "hours": {"mon-fri": ["14:00-22:00"]}},
}
MONDAY = datetime(2026, 11, 30, tzinfo=UTC)
FRIDAY = MONDAY + timedelta(days=4)


def config(calendars: dict[str, str], **quiet: Any) -> Config:
    """Return the configuration with these calendars of reps, and these quiet hours."""
    agreement = CONFIG.agreement.model_dump(by_alias=True) | {"calendars": CALENDARS}
    agreement["response"] |= {"warm": {"touch_within": "4h"}, "quiet_hours": {"outside": "owner", **quiet}}
    team = CONFIG.team.model_dump(by_alias=True)
    team["reps"] = [{**rep, "calendar": calendars.get(rep["id"])} for rep in team["reps"]]
    return dataclasses.replace(
        CONFIG, agreement=Agreement.model_validate(agreement), team=Team.model_validate(team), version="quiet"
    )


def at(day: datetime, hours: float) -> datetime:
    return day + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (at(MONDAY, 9), None),
        (at(MONDAY, 8.5), at(MONDAY, 9)),
        (at(MONDAY, 12.5), at(MONDAY, 13)),
        (at(MONDAY, 17.99), None),
        (at(MONDAY, 18), at(MONDAY, 33)),
        (at(FRIDAY, 18), at(FRIDAY, 81)),
        (at(FRIDAY, 40), at(FRIDAY, 81)),
    ],
)
def test_page_waits_until_the_hours_of_its_recipient_begin(now: datetime, until: datetime | None) -> None:
    assert quiet(config({"ana": "office"}), now) == until


def quiet(terms: Config, now: datetime, urgency: str = "warm", person: str = "ana") -> datetime | None:
    clock = ResponseClock(lead_id="l", version=1, urgency=urgency, submit_at=now, promise_at=now, updated_at=now)
    page = Page(
        id="p",
        lead_id="l",
        epoch=1,
        rung=0,
        kind="owner",
        person=person,
        channels=("slack",),
        due_at=now,
        created_at=now,
    )
    return quiet_until(page, clock, NotifierContext(()).terms_of(terms), now)


def test_each_recipient_has_their_own_hours() -> None:
    both = config({"ana": "office", "max": "late"})
    assert quiet(both, at(MONDAY, 10)) is None
    assert quiet(both, at(MONDAY, 10), person="max") == at(MONDAY, 14)
    assert quiet(both, at(MONDAY, 3), person="bo") is None, "bo has no calendar"


def test_named_calendar_counts_for_everyone() -> None:
    assert quiet(config({"ana": "late"}, outside="office"), at(MONDAY, 10)) is None
    assert quiet(config({"ana": "late"}, outside="office"), at(MONDAY, 20)) == at(MONDAY, 33)


def test_urgency_that_is_excepted_never_waits() -> None:
    terms = config({"ana": "office"}, but=["hot"])
    assert quiet(terms, at(MONDAY, 3), "hot") is None
    assert quiet(terms, at(MONDAY, 3), "warm") == at(MONDAY, 9)


def test_page_is_sent_if_the_hours_never_begin() -> None:
    never = Calendar(timezone="UTC", hours={})
    context = NotifierContext(())
    terms = dataclasses.replace(
        context.terms_of(config({"ana": "office"})), calendars={"office": never}, quiet_hours=QuietHours()
    )
    page = Page(
        id="p",
        lead_id="l",
        epoch=1,
        rung=0,
        kind="owner",
        person="ana",
        channels=("slack",),
        due_at=MONDAY,
        created_at=MONDAY,
    )
    assert quiet_until(replace(page), None, terms, MONDAY) is None


# --- the whole way ----------------------------------------------------------------------------------------------------


async def test_owner_is_told_when_the_hours_begin_and_the_ladder_goes_on_from_there(harness: NotifierHarness) -> None:
    harness.units.config = config({"ana": "office"})
    harness.clock.now = night = at(MONDAY, 42)  # Tuesday, 18:00
    harness.hear(harness.qualified(submit_at=night), harness.assigned(submit_at=night))
    await harness.settle()
    page = harness.page(0)
    assert (page["state"], page["delay"], page["first_try_at"]) == ("pending", "quiet_hours", None)
    assert page["error"] == "outside the hours of ana; waits until 02 Dec 09:00 UTC"

    await harness.wait(hours=15)
    assert [(m.person_name, m.rung) for m in harness.slack.messages] == [("Max", 2), ("Ana", 1)]
    assert (harness.slack.messages[0].written_at, harness.slack.messages[1].written_at) == (
        night + timedelta(minutes=70),  # the promise ended at 60; max has no calendar
        at(night, 15),
    )


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_page_of_the_night_is_checked_again_in_the_morning(harness: NotifierHarness, fact: str) -> None:
    harness.units.config = config({"ana": "office", "max": "office"})
    harness.clock.now = night = at(MONDAY, 42)
    harness.hear(harness.qualified(submit_at=night), harness.assigned(submit_at=night))
    await harness.settle()
    harness.clock.now = at(night, 14.99)
    harness.hear(getattr(harness, fact)())
    await harness.wait(minutes=2)
    assert [m for m in harness.slack.messages if m.kind == "owner"] == []


async def test_person_who_is_away_in_the_morning_is_not_told(harness: NotifierHarness) -> None:
    harness.units.config = config({"ana": "office"})
    harness.clock.now = night = at(MONDAY, 42)
    harness.hear(harness.qualified(submit_at=night), harness.assigned(submit_at=night))
    harness.hear(harness.rep("ana", "away"))
    harness.clock.now = at(night, 15)
    await harness.settle()
    assert (harness.page(1)["state"], harness.page(1)["error"]) == ("cancelled", "ana is away")


async def test_changed_calendar_acts_on_pages_that_wait_already(harness: NotifierHarness) -> None:
    harness.units.config = config({"ana": "office"})
    harness.clock.now = night = at(MONDAY, 42)
    harness.hear(harness.qualified(submit_at=night), harness.assigned(submit_at=night))
    await harness.settle()
    harness.files.current = harness.units.config = dataclasses.replace(config({"ana": "late"}), version="v6")
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
