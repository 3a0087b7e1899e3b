"""The response to each request of a prospect: when it was made, when a person was first in touch, and how often.

A row is one request. It begins with the submit that hands the lead over to Sales. A person who asks again before the first
touch counts once, from the first request. After a touch, or after the lead has left Sales, a request counts anew.

Records of one lead are applied in the order of their versions. Touches may come late and in any order: each counts for the
request that it followed by its own time. Times are microseconds since the epoch.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from firsthour.kernel.business_time import WorkingHours, due_after, working_time
from firsthour.kernel.time_units import micros, moment
from schemas.events.routes import (
    HELD_BACK,
    LeadAskedAgain,
    LeadAssigned,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadStatusChanged,
    TouchApplied,
)

HOUR: Final = timedelta(hours=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_WITH_SALES: Final = frozenset({"qualified", "assigned", "accepted", "working", "opportunity", "customer"})
"""The statuses of a lead that Sales has, or has won."""
FIGURES: Final = (
    LeadQualified,
    LeadQueued,
    LeadAssigned,
    LeadAskedAgain,
    TouchApplied,
    LeadRecycled,
    LeadOptedOut,
    LeadStatusChanged,
)
"""The records that change a row."""

Hours = Callable[[str | None, str], WorkingHours | None]
"""Returns the working hours for an owner (None: no owner) and an urgency. None: every minute counts."""


class ProspectRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request of a lead, and the response to it. The fields are the columns of `reporting_responses`."""

    lead_id: str
    submit_at: int
    urgency: str
    source: str | None = None
    rep: str | None = None  # by whom the request counts: see `_touch` and `_assign`
    touched_at: int | None = None  # the first touch
    working_us: int | None = None  # working time from the start of the clock to the first touch
    hour_at: int | None = (
        None  # the end of the first working hour of the clock; None: not within a year, or it stands still
    )
    left_at: int | None = None  # when the lead left Sales
    attempts: int = 0  # touches without an answer
    conversations: int = 0  # touches with an answer
    held_at: int | None = None  # when the lead was held back with a burst
    released_at: int | None = (
        None  # when its burst was released, and its clock started; None: it is held back, or was not
    )

    @property
    def awaits_touch(self) -> bool:
        """Whether a touch is still to come."""
        return self.touched_at is None and self.left_at is None


Requests = Sequence[ProspectRequest]
"""The requests of one lead, the oldest first. At most the last one awaits a touch."""


def apply(requests: Requests, event: LeadEvent, hours: Hours, lead_id: str) -> list[ProspectRequest]:
    """Return the requests of a lead after a record of the router.

    Args:
        lead_id: of the requests. The record of a lead that was merged into another one names the other id.
    """
    if isinstance(event, LeadQualified | LeadQueued | LeadAssigned | LeadAskedAgain):
        after = _with_hold(_with_submit(requests, event, lead_id, hours), event, hours)
        return _assign(after, event.rep, hours) if isinstance(event, LeadAssigned | LeadAskedAgain) else after
    if isinstance(event, TouchApplied):
        return _touch(requests, event, hours)
    if isinstance(event, LeadRecycled | LeadOptedOut) or (
        isinstance(event, LeadStatusChanged) and event.status not in _WITH_SALES
    ):
        since = event.since if isinstance(event, LeadRecycled) else None
        return _leave(requests, micros(since or event.at))
    return [*requests]


def _with_submit(
    requests: Requests, event: LeadQualified | LeadQueued | LeadAssigned | LeadAskedAgain, lead_id: str, hours: Hours
) -> list[ProspectRequest]:
    """Return the requests with the one of this submit. A lead with a request that awaits a touch has asked again."""
    submit_at = micros(event.submit_at)
    last = requests[-1] if requests else None
    if last is not None and (last.awaits_touch or last.submit_at >= submit_at):
        if last.submit_at == submit_at and isinstance(event, LeadQualified) and last.touched_at is None:
            return [*requests[:-1], replace(last, left_at=None)]  # the same time, under another id
        return [*requests]
    source = event.trigger.source if isinstance(event, LeadQualified | LeadAskedAgain) else None
    if isinstance(event, LeadAssigned):
        source = event.card.source or None
    request = ProspectRequest(lead_id=lead_id, submit_at=submit_at, urgency=event.urgency, source=source)
    return [*requests, _with_hour(request, hours)]


def _with_hold(requests: Requests, event: LeadEvent, hours: Hours) -> list[ProspectRequest]:
    """Note that the lead of the last request is held back with a burst, or is no longer."""
    last, at = requests[-1], micros(event.at)
    if isinstance(event, LeadQueued) and event.pool == HELD_BACK:
        held = replace(last, held_at=last.held_at or at) if last.left_at is None else last
    elif isinstance(event, LeadQueued | LeadAssigned) and last.held_at is not None:
        held = replace(last, released_at=last.released_at or at)
    else:
        return [*requests]
    return [*requests[:-1], _with_hour(held, hours)]


def _assign(requests: Requests, rep: str, hours: Hours) -> list[ProspectRequest]:
    """Let the request that awaits a touch count for its new owner."""
    if not requests or not requests[-1].awaits_touch or requests[-1].rep == rep:
        return [*requests]
    return [*requests[:-1], _with_hour(replace(requests[-1], rep=rep), hours)]


def _touch(requests: Requests, event: TouchApplied, hours: Hours) -> list[ProspectRequest]:
    """Count a touch for the last request before it. The request counts for the rep who made its first touch, if known."""
    at = micros(event.touched_at)
    index = next((n for n in reversed(range(len(requests))) if requests[n].submit_at <= at), None)
    if index is None:
        return [*requests]
    request = requests[index]
    if request.left_at is not None and at > request.left_at:
        return [*requests]
    if event.answered:
        request = replace(request, conversations=request.conversations + 1)
    else:
        request = replace(request, attempts=request.attempts + 1)
    if request.touched_at is None or at < request.touched_at:
        request = _with_hour(replace(request, touched_at=at, rep=event.rep or request.rep), hours)
    return [*requests[:index], request, *requests[index + 1 :]]


def _leave(requests: Requests, at: int) -> list[ProspectRequest]:
    """Note that the lead left Sales."""
    if not requests or requests[-1].left_at is not None or requests[-1].submit_at > at:
        return [*requests]
    return [*requests[:-1], replace(requests[-1], left_at=at)]


def _with_hour(request: ProspectRequest, hours: Hours) -> ProspectRequest:
    """Return the request with its working times, counted in the hours of its rep from the start of its clock."""
    if request.held_at is not None and request.released_at is None:
        return replace(request, hour_at=None, working_us=None if request.touched_at is None else 0)
    start = request.released_at or request.submit_at
    open_hours = hours(request.rep, request.urgency)
    touched_at = None if request.touched_at is None else max(start, request.touched_at)
    if open_hours is None:
        hour_at: int | None = start + HOUR // _MICROSECOND
        working_us = None if touched_at is None else touched_at - start
    else:
        end = due_after(open_hours, moment(start), HOUR)
        hour_at = None if end is None else micros(end)
        worked = None if touched_at is None else working_time(open_hours, moment(start), moment(touched_at))
        working_us = None if worked is None else worked // _MICROSECOND
    return replace(request, hour_at=hour_at, working_us=working_us)


def united(requests: Iterable[ProspectRequest], lead_id: str, hours: Hours) -> list[ProspectRequest]:
    """Return the requests of two leads that are one person, under one id.

    A request after one that awaits a touch, or of the same moment, becomes part of the earlier one.
    """
    result: list[ProspectRequest] = []
    for request in sorted(requests, key=attrgetter("submit_at", "lead_id")):
        last = result[-1] if result else None
        if last is not None and (last.awaits_touch or last.submit_at == request.submit_at):
            result[-1] = _joined(last, request, hours)
        else:
            result.append(replace(request, lead_id=lead_id))
    return result


def _joined(earlier: ProspectRequest, later: ProspectRequest, hours: Hours) -> ProspectRequest:
    """Return two requests of one person as one: with the first touch of both, and with Sales as long as one of them is."""
    touched = [request for request in (earlier, later) if request.touched_at is not None]
    first = min(touched, key=attrgetter("touched_at"), default=earlier)
    left_at = max(earlier.left_at, later.left_at) if earlier.left_at and later.left_at else None
    both = replace(
        earlier,
        rep=first.rep or earlier.rep,
        touched_at=first.touched_at,
        left_at=left_at,
        attempts=earlier.attempts + later.attempts,
        conversations=earlier.conversations + later.conversations,
    )
    return _with_hour(both, hours)
