"""The thin events that wait for the rest of them: one row each, from the delivery until it is completed or given up."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.gateway.domain.coerce import Json
from services.gateway.domain.thin_events import ThinEvent

FETCHER: Final = "gateway.fetcher"
LEASE: Final = timedelta(seconds=30)
"""A process that claims a thin event has this long to record its outcome. Then another one claims it."""
ORPHANS_AT_ONCE: Final = 100

fetches = sa.Table(
    "gateway_fetches",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),  # the source and the event's own id
    sa.Column("source", statements.Text, nullable=False),
    sa.Column("event_id", statements.Text, nullable=False),  # of the thin event, as the vendor names it
    sa.Column("event", statements.Bytes, nullable=False),  # the thin event, JSON
    sa.Column("received_at", statements.Integer, nullable=False),  # business time
    sa.Column("added_at", statements.Integer, nullable=False),  # real time, as those below
    sa.Column("next_at", statements.Integer, nullable=False),  # when it is tried next, or the end of the lease
    sa.Column("tries", statements.Integer, nullable=False),
    sa.Column("error", statements.Text),
    sa.Index("gateway_fetches_by_source", "source", "next_at"),
    sa.Index("gateway_fetches_by_next", "next_at"),
)
_ADD = statements.Sql(
    lambda f: f.insert(fetches).values({c.name: sa.bindparam(c.name) for c in fetches.columns}).on_conflict_do_nothing()
)
_NEXT = statements.Sql(lambda _: sa.select(sa.func.min(fetches.c.next_at)))
_DUE = statements.Sql(
    lambda _: (
        sa.select(fetches)
        .where(fetches.c.source == sa.bindparam("source"), fetches.c.next_at <= sa.bindparam("now"))
        .order_by(fetches.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_ORPHANS = statements.Sql(
    lambda f: (
        sa.select(fetches)
        .where(sa.not_(f.is_any_of(fetches.c.source, "known")))
        .order_by(fetches.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_LOCK = statements.Sql(
    lambda f: sa.select(fetches).where(f.is_any_of(fetches.c.id, "ids")).order_by(fetches.c.id).with_for_update()
)
_CLAIM = statements.Sql(
    lambda _: (
        sa.update(fetches)
        .where(fetches.c.id == sa.bindparam("fetch"))
        .values(tries=fetches.c.tries + 1, next_at=sa.bindparam("until"))
    )
)
_POSTPONE = statements.Sql(
    lambda _: (
        sa.update(fetches)
        .where(fetches.c.id == sa.bindparam("fetch"))
        .values(next_at=sa.bindparam("at"), error=sa.bindparam("why"))
    )
)
_REMOVE = statements.Sql(lambda f: sa.delete(fetches).where(f.is_any_of(fetches.c.id, "ids")))


class Waiting(NamedTuple):
    """A thin event that waits. `tries`: the number of claims, which only its last claimer knows."""

    id: str
    source: str
    event_id: str
    event: Json
    received_at: datetime
    added_at: datetime
    tries: int
    error: str


def add(unit: Unit, source: str, events: Iterable[ThinEvent], received_at: datetime) -> None:
    """Store thin events, which the fetcher reads soon. One that waits already is left out. `received_at`: business time."""
    real = micros(unit.clock.real())
    rows = [
        {
            "id": f"{source}/{event.id}",
            "source": source,
            "event_id": event.id,
            "event": msgspec.json.encode(event.event),
            "received_at": micros(received_at),
            "added_at": real,
            "next_at": real,
            "tries": 0,
            "error": None,
        }
        for event in events
    ]
    if rows:
        unit.store(_ADD.work(unit.connection, rows))
        unit.wake(FETCHER)


def next_fetch_at(connection: Connection) -> datetime | None:
    """Return when the first thin event is to be tried, in real time. None: none waits."""
    at = _NEXT.first(connection)[0]
    return None if at is None else moment(at)


def claim(unit: Unit, places: Mapping[str, int]) -> list[Waiting]:
    """Claim due thin events, at most this many of each source."""
    real = unit.clock.real()
    claimed: list[Waiting] = []
    for source, limit in sorted(places.items()):
        if limit > 0:
            claimed += map(_waiting, _DUE.all(unit.connection, source=source, now=micros(real), limit=limit))
    until = micros(real + LEASE)
    _CLAIM.many(unit.connection, [{"fetch": one.id, "until": until} for one in claimed])
    return [one._replace(tries=one.tries + 1) for one in claimed]


def orphans(unit: Unit, known: Collection[str]) -> list[Waiting]:
    """Return some thin events of sources that are none of these, locked."""
    return [*map(_waiting, _ORPHANS.all(unit.connection, known=sorted(known), limit=ORPHANS_AT_ONCE))]


def still_claimed(unit: Unit, claims: Sequence[Waiting]) -> set[str]:
    """Lock these thin events, and return the ids of those that no other process has claimed since."""
    tries = {row.id: row.tries for row in _LOCK.all(unit.connection, ids=[one.id for one in claims])}
    return {one.id for one in claims if tries.get(one.id) == one.tries}


def postpone(unit: Unit, claim: Waiting, why: str, at: datetime) -> None:
    """Let a thin event wait until then, in real time."""
    _POSTPONE.run(unit.connection, fetch=claim.id, at=micros(at), why=why)


def remove(unit: Unit, ids: Sequence[str]) -> None:
    """Remove thin events that are completed or given up."""
    if ids:
        _REMOVE.run(unit.connection, ids=list(ids))


def _waiting(row: sa.Row[tuple[object, ...]]) -> Waiting:
    return Waiting(
        row.id,
        row.source,
        row.event_id,
        msgspec.json.decode(bytes(row.event)),
        moment(row.received_at),
        moment(row.added_at),
        row.tries,
        row.error or "",
    )
