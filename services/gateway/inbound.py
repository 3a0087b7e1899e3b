"""Reads the topic `inbound`: accepts the events of other programs, and keeps the other records as dead letters.

The rows of a batch, its dead letters and its counts are in the unit that moves the cursor, so each record counts once.
"""

from collections.abc import Sequence
from typing import Final

from firsthour.runtime.eventlog.dead_letters import GATEWAY, Retention, dead_letter
from firsthour.runtime.eventlog.failure_reason import failure_reason
from firsthour.runtime.eventlog.inbound_record import InboundRecord
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.version import VERSION
from schemas.topics import INBOUND
from services.gateway.domain.coerce import UnmappableError
from services.gateway.intake.inbound import InboundBody, body_of, parse_record, reason_of
from services.gateway.source_counts import OTHER, REASONS, SourceCounts, store
from services.gateway.sources import producers_of

UNKNOWN_PRODUCER: Final = INBOUND
"""The source of a dead letter whose producer no source names."""


def hear_inbound(records: Sequence[Record], unit: Unit, retention: Retention) -> None:
    """Accept the events of these records. Each record that is no event, or not permitted, becomes a dead letter."""
    producers, team, counts = producers_of(unit.config), unit.config.team, SourceCounts()
    for record in records:
        headers = record.headers if isinstance(record, InboundRecord) else ()
        body = body_of(record.body, headers)
        parsed = parse_record(body, producers, team, unit.now)
        if parsed.error is None:
            unit.rows.extend(parsed.rows)
            counts.accept(parsed.source, parsed.events)
        else:
            source = parsed.source or UNKNOWN_PRODUCER
            counts.note(source, _outcome(parsed.error))
            _keep(unit, body, parsed.error, origin=record.event_id, source=source, retention=retention)
    store(counts.take())(unit)


def _outcome(error: Exception) -> str:
    status = error.status if isinstance(error, UnmappableError | Problem) else 0
    return REASONS.get(status, OTHER)


def _keep(unit: Unit, body: InboundBody, error: Exception, *, origin: str, source: str, retention: Retention) -> None:
    dead_letter(
        unit.connection,
        at=unit.clock.real(),
        consumer=GATEWAY,
        origin=origin,
        source=source,
        content_type=body.content_type,
        body=body.body,
        error=reason_of(error) or failure_reason(error),
        code=VERSION,
        retention=retention,
    )
