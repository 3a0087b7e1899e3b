"""Recorded events, decoded, for other services: bootstrap hands these functions to them."""

from datetime import datetime

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.base import Event
from schemas.events.outside import ExternalEvent
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


def first_arrival(connection: Connection, event_id: str) -> datetime | None:
    """Return the business time at which an outside event arrived first. None: it is not recorded."""
    body = store.body_of(connection, event_id)
    try:
        event = None if body is None else event_of(decode(unpacked(body)))
    except UnknownEventError:  # written by a later release
        return None
    return event.received_at if isinstance(event, ExternalEvent) else None
