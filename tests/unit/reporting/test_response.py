"""The requests of a lead and the responses to them, from the records of the router."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.business_time import WorkingHours
from firsthour.kernel.calendar import CalendarHours
from firsthour.kernel.time_units import micros
from schemas.events.leads import Score, Trigger
from schemas.events.routes import (
    LeadAskedAgain,
    LeadAssigned,
    LeadEvent,
    LeadQualified,
    LeadRecycled,
    LeadStatusChanged,
    TouchApplied,
)
from services.reporting.domain.response import ProspectRequest, apply, united

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)  # a Tuesday
OFFICE = CalendarHours(ZoneInfo("UTC"), [[(9 * 60, 17 * 60)]] * 5 + [[], []])


def always(rep: str | None, urgency: str) -> None:
    """Count every minute."""


def office(rep: str | None, urgency: str) -> WorkingHours | None:
    """Count the hours of Tuesday to Friday for reps; without a rep, every minute."""
    return OFFICE if rep else None


def at(minutes: float) -> datetime:
    return NINE + timedelta(minutes=minutes)


def _record(minutes: float, status: str = "assigned", was: str = "qualified", **fields: Any) -> dict[str, Any]:
    record = {
        "lead_id": "l1",
        "version": 1,
        "at": at(minutes),
        "status": status,
        "was": was,
        "epoch": 1,
        "by": "system",
    }
    return {**record, **fields}


def qualified(minutes: float, source: str = "website") -> LeadQualified:
    return LeadQualified(
        **_record(minutes, "qualified", "new"),
        line="demo",
        urgency="hot",
        submit_at=at(minutes),
        score=Score(1.0, 1.0, 1.0, "A"),
        trigger=Trigger("e1", "form.submitted", at(minutes), source),
    )


def assigned(minutes: float, rep: str = "ana", submit: float = 0) -> LeadAssigned:
    fields: dict[str, Any] = {
        "rep": rep,
        "decision_id": "d",
        "urgency": "hot",
        "submit_at": at(submit),
        "assigned_at": at(minutes),
    }
    return LeadAssigned(**_record(minutes, **fields))


def asked_again(minutes: float, rep: str = "ana") -> LeadAskedAgain:
    trigger = Trigger("e2", "form.submitted", at(minutes), "website")
    fields: dict[str, Any] = {
        "rep": rep,
        "line": "demo",
        "urgency": "hot",
        "submit_at": at(minutes),
        "trigger": trigger,
    }
    return LeadAskedAgain(**_record(minutes, "working", "working", **fields))


def touched(
    minutes: float, *, answered: bool = False, rep: str | None = None, heard: float | None = None
) -> TouchApplied:
    record = _record(minutes if heard is None else heard, "working", channel="phone", answered=answered)
    return TouchApplied(**record, touched_at=at(minutes), rep=rep)


def recycled(minutes: float) -> LeadRecycled:
    return LeadRecycled(**_record(minutes, "nurturing", "assigned"), kind="recycle", reason="stalled")


def requests_of(*events: LeadEvent, hours: Any = always) -> list[ProspectRequest]:
    requests: list[ProspectRequest] = []
    for event in events:
        requests = apply(requests, event, hours, "l1")
    return requests


def summary(requests: Sequence[ProspectRequest]) -> list[tuple[Any, ...]]:
    """Return of each request: submit, first touch, attempts, conversations and rep; times in minutes since nine."""

    def minutes(us: int | None) -> float | None:
        return None if us is None else (us - micros(NINE)) / 60_000_000

    return [(minutes(r.submit_at), minutes(r.touched_at), r.attempts, r.conversations, r.rep) for r in requests]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param((qualified(0), assigned(0)), [(0, None, 0, 0, "ana")], id="untouched"),
        pytest.param((qualified(0), assigned(0), touched(5)), [(0, 5, 1, 0, "ana")], id="attempt"),
        pytest.param(
            (qualified(0), assigned(0), touched(5), touched(9, answered=True)), [(0, 5, 1, 1, "ana")], id="both apart"
        ),
        pytest.param(
            (qualified(0), assigned(0), assigned(30, "bo"), touched(35)), [(0, 35, 1, 0, "bo")], id="reassigned"
        ),
        pytest.param(
            (qualified(0), assigned(0), touched(5), assigned(30, "bo")), [(0, 5, 1, 0, "ana")], id="passed on later"
        ),
        pytest.param((qualified(0), assigned(0), touched(5, rep="max")), [(0, 5, 1, 0, "max")], id="by the manager"),
        pytest.param(
            (qualified(0), assigned(0), touched(50), touched(5, heard=60)), [(0, 5, 2, 0, "ana")], id="late touch"
        ),
        pytest.param(
            (qualified(0), assigned(0), assigned(20, submit=20), touched(30)), [(0, 30, 1, 0, "ana")], id="asked again"
        ),
        pytest.param(
            (qualified(0), assigned(0), touched(5), qualified(60), assigned(60, "bo", 60), touched(65)),
            [(0, 5, 1, 0, "ana"), (60, 65, 1, 0, "bo")],
            id="asked again after a touch",
        ),
        pytest.param(
            (qualified(0), assigned(0), recycled(30), qualified(60), touched(65)),
            [(0, None, 0, 0, "ana"), (60, 65, 1, 0, None)],
            id="left, and came back",
        ),
        pytest.param(
            (qualified(0), assigned(0), recycled(30), qualified(60), touched(10, heard=65)),
            [(0, 10, 1, 0, "ana"), (60, None, 0, 0, None)],
            id="late touch of the request before",
        ),
        pytest.param(
            (qualified(0), assigned(0), recycled(30), touched(40)), [(0, None, 0, 0, "ana")], id="after leaving"
        ),
        pytest.param(
            (qualified(0), assigned(0), asked_again(20), touched(30)), [(0, 30, 1, 0, "ana")], id="asked again, owned"
        ),
        pytest.param(
            (qualified(0), assigned(0), touched(5), asked_again(20), touched(30)),
            [(0, 5, 1, 0, "ana"), (20, 30, 1, 0, "ana")],
            id="asked again, in touch",
        ),
        pytest.param((touched(5), qualified(10)), [(10, None, 0, 0, None)], id="before any request"),
    ],
)
def test_requests_of_a_lead(events: Sequence[LeadEvent], expected: list[Any]) -> None:
    assert summary(requests_of(*events)) == expected


def test_request_knows_its_source_urgency_and_when_it_left() -> None:
    spam = LeadStatusChanged(**_record(7, "disqualified", "assigned"), reason="spam")
    (request,) = requests_of(qualified(0, "fair"), assigned(0), spam)
    assert (request.source, request.urgency, request.left_at) == ("fair", "hot", micros(at(7)))


def test_working_time_is_counted_in_the_calendar_of_the_rep() -> None:
    evening, morning = 7 * 60 + 50, 24 * 60 + 20  # 16:50, and 9:20 of the next day
    (request,) = requests_of(qualified(evening), assigned(evening, submit=evening), touched(morning), hours=office)
    assert request.working_us == 30 * 60_000_000
    assert request.hour_at == micros(at(24 * 60 + 50))


@given(st.lists(st.integers(1, 600), min_size=1, max_size=4))
def test_order_of_touches_does_not_matter(minutes: list[int]) -> None:
    results = {
        tuple(summary(requests_of(qualified(0), assigned(0), *(touched(n) for n in order))))
        for order in permutations(minutes)
    }
    assert results == {((0, min(minutes), len(minutes), 0, "ana"),)}


def test_requests_of_one_person_with_two_leads_are_united() -> None:
    one = requests_of(qualified(0), assigned(0))
    other = [*requests_of(qualified(10), assigned(10, "bo", 10), touched(20, answered=True))]
    assert summary(united([*other, *one], "l1", always)) == [(0, 20, 0, 1, "bo")]
    early = requests_of(qualified(0), assigned(0), touched(5))
    assert summary(united([*early, *other], "l1", always)) == [(0, 5, 1, 0, "ana"), (10, 20, 0, 1, "bo")]
