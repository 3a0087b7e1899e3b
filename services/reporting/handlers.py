"""The handlers of reporting: store every record, the newest status of each lead, and the models of its way."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from firsthour.kernel.time_units import micros
from firsthour.runtime.processing.service import Handler
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events.leads import LeadScored
from schemas.topics import EVENTS, LEADS, ROUTES
from services.reporting import funnel_passes, lead_models, responses, store
from services.reporting.domain import timeline
from services.reporting.source_fields import count_fields
from services.reporting.sources import count_sources

HISTORY_DAYS = 400
STREAM: Final = "reporting.stream"
"""The runner that hands what is new to viewers. It is in processes that answer HTTP."""
_OF_LEADS = frozenset({LEADS, ROUTES})
"""The topics whose records change the models of leads."""


def record_history(topic: str) -> Handler:
    """Return the handler that stores the records of one topic."""

    def hear(batch: Sequence[Record], unit: Unit) -> None:
        rows: list[dict[str, object]] = []
        now = micros(unit.clock.business())  # it only decides the age of rows: `unit.now` would ask the database
        statuses: dict[str, tuple[str, int]] = {}
        for record in batch:
            event, envelope = record.event, record.envelope
            lead = timeline.lead_of(event)
            rows.append(
                {
                    "id": record.event_id,
                    "topic": topic,
                    "type": envelope.type,
                    "lead_id": lead,
                    "cause": timeline.cause_of(event),
                    "at": micros(envelope.time),
                    "heard_at": now,
                    "position": record.position,
                    "body": record.packed,
                }
            )
            status = timeline.status_of(event)
            if status is None and isinstance(event, LeadScored) and event.version == 1:
                status = (next(iter(unit.config.agreement.lifecycle.statuses)), 0)
            if lead and status and (lead not in statuses or status[1] > statuses[lead][1]):
                statuses[lead] = status
        if topic in _OF_LEADS:
            lead_models.follow(unit, [record.event for record in batch])
        if topic == EVENTS:
            events = [record.event for record in batch]
            count_sources(unit, events)
            count_fields(unit, events)
        store.insert_history(unit, rows)
        unit.wake(STREAM)
        store.set_statuses(
            unit,
            [{"lead_id": lead, "status": status, "version": version} for lead, (status, version) in statuses.items()],
        )

    return hear


def delete_old_requests(unit: Unit, limit: int) -> int:
    """Delete up to `limit` requests older than `HISTORY_DAYS`. Return their number."""
    return responses.delete_before(unit, micros(unit.now - timedelta(days=HISTORY_DAYS)), limit)


def delete_old_passes(unit: Unit, limit: int) -> int:
    """Delete up to `limit` passes that began more than `HISTORY_DAYS` ago. Return their number."""
    return funnel_passes.delete_before(unit, micros(unit.now - timedelta(days=HISTORY_DAYS)), limit)


def delete_old_history(unit: Unit, limit: int) -> int:
    """Delete up to `limit` rows older than `HISTORY_DAYS`. Return their number."""
    return store.delete_before(unit, micros(unit.now - timedelta(days=HISTORY_DAYS)), limit)
