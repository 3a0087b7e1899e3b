"""The newest events of one lead, decoded, for other services: bootstrap hands this function to them."""

from datetime import datetime

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.base import Event
from services.reporting import store


def recent_events(connection: Connection, lead: str, limit: int) -> list[tuple[datetime, str, Event]]:
    """Return time, type and event of the newest records of a lead, newest first. Unknown types are left out."""
    events = []
    for row in store.timeline(connection, lead, None, limit):
        try:
            events.append((moment(row.at), str(row.type), event_of(decode(unpacked(row.body)))))
        except UnknownEventError:  # written by a later release
            continue
    return events
