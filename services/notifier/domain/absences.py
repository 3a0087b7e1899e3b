"""The absences of a rep that were stated over the API, as spans of time that stay known after they end."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from firsthour.kernel.business_time import HORIZON, Span
from firsthour.kernel.time_units import micros
from schemas.events.routes import RepAvailabilityChanged
from services.notifier.domain.working_hours import WITHOUT_END

ABSENCES_MAX: Final = 100
"""Absences kept of one rep, the newest."""
_KEPT: Final = HORIZON // timedelta(microseconds=1)


def with_change(spans: Sequence[Span], change: RepAvailabilityChanged) -> tuple[Span, ...]:
    """Return the absences after a change. It ends the absence in force, and may begin another one."""
    at = micros(change.at)
    until = WITHOUT_END if change.until is None else micros(change.until)
    after = [span._replace(end=min(span.end, at)) for span in spans if span.start < at]
    if change.state != "available" and until > at:
        after.append(Span(at, until))
    return tuple(span for span in after if span.end > at - _KEPT)[-ABSENCES_MAX:]
