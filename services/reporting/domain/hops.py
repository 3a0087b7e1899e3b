"""The use of the hour, hop by hop: from the submit of a request over its way through the services to the first touch."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from firsthour.kernel.time_units import micros
from schemas.events.base import Event
from schemas.events.leads import LeadScored
from schemas.events.outside import ExternalEvent
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAccepted, LeadAskedAgain, LeadAssigned, LeadQualified
from services.reporting.domain.funnel_tally import nearest_rank

STEPS: Final = ("submit", "received", "scored", "routed", "told", "accepted", "touched")
"""The steps of a request, in their usual order."""
HOP_EVENTS: Final = (LeadAccepted, LeadAskedAgain, LeadAssigned, LeadQualified, LeadScored, PageSent)
"""The records of a lead that name a step."""


@dataclass(frozen=True)
class StepRecord:
    """A stored record. `written_at`: when its service wrote it (microseconds)."""

    written_at: int
    event: Event


@dataclass(frozen=True)
class Hop:
    """The time between two steps, over the requests that have both. Seconds; None: no request has both."""

    start: str
    end: str
    requests: int
    median: float | None
    p90: float | None


def trigger_of(records: Iterable[StepRecord], submit_at: int) -> str | None:
    """Return the id of the outside event that was this request. None: its record is gone."""
    for record in records:
        event = record.event
        if isinstance(event, LeadQualified | LeadAskedAgain) and micros(event.submit_at) == submit_at:
            return event.trigger.event_id
    return None


def steps_of(
    records: Sequence[StepRecord], submit_at: int, touched_at: int | None, outside: ExternalEvent | None
) -> dict[str, int]:
    """Return the time of each step of a request (microseconds). A step that did not happen, or is not known, is missing.

    Args:
        records: those of the lead.
        submit_at: when the person asked.
        touched_at: the first touch. None: there was none.
        outside: the event of the submit.
    """
    trigger, end = trigger_of(records, submit_at), touched_at if touched_at is not None else 2**62
    times: dict[str, list[int]] = defaultdict(list)
    for record in records:
        event = record.event
        if isinstance(event, LeadScored) and event.trigger.event_id == trigger:
            times["scored"].append(record.written_at)
        elif isinstance(event, LeadAssigned) and micros(event.submit_at) == submit_at:
            times["routed"].append(micros(event.assigned_at))
        elif isinstance(event, PageSent) and event.epoch > 0:
            times["told"].append(micros(event.at))
        elif isinstance(event, LeadAccepted):
            times["accepted"].append(micros(event.at))
    steps = {"submit": submit_at}
    if outside is not None:
        steps["received"] = micros(outside.received_at)
    steps |= {name: first for name in ("scored", "routed") if (first := min(times[name], default=None)) is not None}
    begun = steps.get("routed", submit_at)
    for name in ("told", "accepted"):
        within = [time for time in times[name] if begun <= time <= end]
        if within:
            steps[name] = min(within)
    return steps if touched_at is None else {**steps, "touched": touched_at}


def hops(requests: Sequence[Mapping[str, int]]) -> list[Hop]:
    """Return the hops between neighbouring steps. A request without a step in between does not count for its two hops.

    A rep who touches a lead without accepting it goes from told to touched: that is a hop of its own.
    """
    pairs = [*pairwise(STEPS), ("told", "touched"), ("submit", "touched")]
    return [_hop(start, end, requests) for start, end in pairs]


def _hop(start: str, end: str, requests: Sequence[Mapping[str, int]]) -> Hop:
    found = (max(0, steps[end] - steps[start]) for steps in requests if start in steps and end in steps)
    spans = array("q", sorted(found))
    median, p90 = (nearest_rank([spans], part, of) for part, of in ((1, 2), (9, 10)))
    return Hop(start, end, len(spans), _seconds(median), _seconds(p90))


def _seconds(span: int | None) -> float | None:
    return None if span is None else span / 1_000_000
