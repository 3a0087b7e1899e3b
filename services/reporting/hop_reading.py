"""The SQL of the hops: the newest requests of a period, and the stored records of their leads. Both are bounded."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.packing import unpacked
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.outside import ExternalEvent
from services.reporting.domain.hops import HOP_EVENTS, Hop, StepRecord, hops, steps_of, trigger_of
from services.reporting.responses import responses
from services.reporting.store import history

REQUESTS_MAX: Final = 300
RECORDS_MAX: Final = 10_000
_TYPES: Final = [kind.TYPE for kind in HOP_EVENTS]
_LIMIT: Final = sa.bindparam("limit", type_=sa.Integer)


def _newest(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(responses.c.lead_id, responses.c.submit_at, responses.c.touched_at)
        .where(responses.c.submit_at >= sa.bindparam("since", type_=sa.BigInteger), *where)
        .order_by(responses.c.submit_at.desc(), responses.c.lead_id.desc())
        .limit(_LIMIT)
    )


_NEWEST = statements.Sql(lambda _: _newest())
_NEWEST_OF_REPS = statements.Sql(lambda f: _newest(f.is_any_of(responses.c.rep, "reps")))
_RECORDS = statements.Sql(
    lambda f: (
        sa.select(history.c.lead_id, history.c.at, history.c.body)
        .where(
            f.is_any_of(history.c.lead_id, "leads"),
            history.c.at >= sa.bindparam("since", type_=sa.BigInteger),
            history.c.type.in_(f.unnest("types")),
        )
        .order_by(history.c.at.desc())
        .limit(_LIMIT)
    )
)
_OUTSIDE = statements.Sql(lambda f: sa.select(history.c.id, history.c.body).where(f.is_any_of(history.c.id, "events")))


def read_hops(connection: Connection, since: datetime, reps: Collection[str] | None) -> tuple[int, list[Hop]]:
    """Return the number of the newest requests since this time, `REQUESTS_MAX` at most, and their hops.

    `reps`: only requests that count for these. None: all.
    """
    values = {"since": micros(since), "limit": REQUESTS_MAX}
    if reps is None:
        requests = _NEWEST.all(connection, **values)
    else:
        requests = _NEWEST_OF_REPS.all(connection, reps=sorted(reps), **values)
    if not requests:
        return 0, hops([])
    records = _records(connection, {row.lead_id for row in requests}, min(row.submit_at for row in requests))
    triggers = [trigger_of(records[row.lead_id], row.submit_at) for row in requests]
    outside = _outside(connection, {trigger for trigger in triggers if trigger is not None})
    steps = [
        steps_of(records[row.lead_id], row.submit_at, row.touched_at, outside.get(trigger or ""))
        for row, trigger in zip(requests, triggers, strict=True)
    ]
    return len(requests), hops(steps)


def _records(connection: Connection, leads: Collection[str], since: int) -> Mapping[str, Sequence[StepRecord]]:
    by_lead: dict[str, list[StepRecord]] = defaultdict(list)
    rows = _RECORDS.all(connection, leads=sorted(leads), since=since, types=_TYPES, limit=RECORDS_MAX)
    for row, event in _events(rows):
        by_lead[row.lead_id].append(StepRecord(row.at, event))
    return by_lead


def _outside(connection: Connection, events: Collection[str]) -> Mapping[str, ExternalEvent]:
    rows = _OUTSIDE.all(connection, events=sorted(events)) if events else ()
    return {row.id: event for row, event in _events(rows) if isinstance(event, ExternalEvent)}


def _events(rows: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each row with its event, without those that a later release has written."""
    for row in rows:
        try:
            yield row, event_of(decode(unpacked(row.body)))
        except UnknownEventError:
            continue
