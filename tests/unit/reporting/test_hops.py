"""The use of the hour, hop by hop."""

from datetime import UTC, datetime, timedelta
from typing import Any

from firsthour.kernel.time_units import micros
from schemas.events.base import Event
from schemas.events.leads import LeadScored, Score, Trigger
from schemas.events.outside import ExternalEvent
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAccepted, LeadAssigned, LeadQualified
from services.reporting.domain.hops import Hop, StepRecord, hops, steps_of, trigger_of

SUBMIT = datetime(2026, 12, 1, 9, tzinfo=UTC)
NOTHING = Score(0, 0, 0, "D")


def at(seconds: float) -> datetime:
    return SUBMIT + timedelta(seconds=seconds)


def record(event: Event, seconds: float) -> StepRecord:
    return StepRecord(micros(at(seconds)), event)


def trigger(id: str = "e1") -> Trigger:
    return Trigger(id, "form.submitted", SUBMIT, "website")


def way() -> list[StepRecord]:
    """Return the records of a request: scored after 2 s, routed after 3, told after 5, accepted after 65."""
    common: dict[str, Any] = {"lead_id": "l", "status": "assigned", "was": "qualified", "epoch": 1, "by": "system"}
    qualified = LeadQualified(
        **common, version=1, at=at(3), line="all", urgency="hot", submit_at=SUBMIT, score=NOTHING, trigger=trigger()
    )
    assigned = LeadAssigned(
        **common,
        version=2,
        at=at(3),
        rep="ana",
        decision_id="d",
        urgency="hot",
        submit_at=SUBMIT,
        assigned_at=at(3),
    )
    told = [
        PageSent(page_id=f"p{n}", lead_id="l", epoch=1, rung=n, person="ana", channel="slack", at=at(5 + 600 * n))
        for n in (1, 0)
    ]
    scored = LeadScored(lead_id="l", version=1, at=at(2), trigger=trigger(), score=NOTHING)
    later = LeadScored(lead_id="l", version=2, at=at(900), trigger=trigger("e2"), score=NOTHING)
    accepted = LeadAccepted(**common, version=3, at=at(65), rep="ana")
    return [
        record(later, 900),
        record(qualified, 3),
        record(assigned, 3),
        *(record(page, 5) for page in told),
        record(scored, 2),
        record(accepted, 65),
    ]


def outside() -> ExternalEvent:
    return ExternalEvent(source="website", source_id="1", received_at=at(1))


def test_each_step_of_a_request_has_its_first_time() -> None:
    assert trigger_of(way(), micros(SUBMIT)) == "e1"
    steps = steps_of(way(), micros(SUBMIT), micros(at(125)), outside())
    seconds = {name: (time - micros(SUBMIT)) / 1_000_000 for name, time in steps.items()}
    assert seconds == {"submit": 0, "received": 1, "scored": 2, "routed": 3, "told": 5, "accepted": 65, "touched": 125}


def test_steps_after_the_touch_or_of_another_request_do_not_count() -> None:
    steps = steps_of(way(), micros(SUBMIT), micros(at(30)), None)
    assert steps.keys() == {"submit", "scored", "routed", "told", "touched"}
    assert steps_of(way(), micros(at(3600)), None, None).keys() == {"submit"}


def test_hop_counts_the_requests_that_have_both_steps() -> None:
    touched = [{"submit": 0, "received": n * 1_000_000} for n in (1, 2, 3, 10)]
    found = {(hop.start, hop.end): hop for hop in hops([*touched, {"submit": 0}])}
    assert found["submit", "received"] == Hop("submit", "received", 4, 2.0, 10.0)
    assert found["received", "scored"] == Hop("received", "scored", 0, None, None)


def test_hop_of_clocks_that_differ_is_never_negative() -> None:
    assert hops([{"submit": 5, "received": 0}])[0].median == 0.0
