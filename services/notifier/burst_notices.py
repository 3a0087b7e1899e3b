"""Tells Marketing and Sales of a burst whose leads are held back, once for each burst."""

from collections.abc import Iterable

from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import HELD_BACK, LeadEvent, LeadQueued
from services.notifier.domain.notice import MARKETING, SALES
from services.notifier.telling import tell

_REMEDY = (
    "Other leads pass them in the queue. `firsthour bursts list`, or GET /v1/bursts, shows how many there are. If they are "
    "genuine, `firsthour bursts release ID`, or POST /v1/bursts/ID/release, lets them go on."
)


def tell_of_bursts(unit: Unit, events: Iterable[LeadEvent]) -> None:
    """Tell both teams of the bursts of these leads, at the end of the unit. One that they were told of before is left out."""
    reasons = {event.reason for event in events if isinstance(event, LeadQueued) and event.pool == HELD_BACK}
    for reason in sorted(reasons):
        for team in (MARKETING, SALES):
            tell(unit, team, key=reason, subject=f"Leads are {reason}", lines=(_REMEDY,))
