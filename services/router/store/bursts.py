"""The SQL of bursts: their leads are held back until a burst is released or dropped."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit

DAYS_KEPT: Final = 90
LISTED_MAX: Final = 200
_DAY: Final = 86_400_000_000  # microseconds

bursts = sa.Table(
    "router_bursts",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("label", statements.Text, nullable=False),
    sa.Column("source", statements.Text, nullable=False),
    sa.Column("since", statements.Integer, nullable=False),  # business time, as the next
    sa.Column("last_at", statements.Integer, nullable=False),
    sa.Column("leads", statements.Integer, nullable=False),  # held back so far
    sa.Column("released_at", statements.Integer),  # NULL: its leads are held back
    sa.Column("released_by", statements.Text),
    sa.Column("dropped_at", statements.Integer),  # NULL: it was not dropped. A burst is released or dropped, never both
    sa.Column("dropped_by", statements.Text),
    sa.Column("drop_reason", statements.Text),
    sa.Column("served", statements.Integer, nullable=False),  # 1: none of its leads is held back any more
    sa.Index("router_bursts_by_age", "last_at"),
)


class BurstChange(msgspec.Struct):
    """The changes of one burst in a unit. Times are microseconds."""

    id: str
    label: str
    source: str
    since: int
    last_at: int
    leads: int = 0
    released_at: int | None = None
    released_by: str | None = None
    dropped_at: int | None = None
    dropped_by: str | None = None
    drop_reason: str | None = None
    served: int = 0


_EMPTY: Final[Any] = sa.literal_column("''")  # of a burst that was released before its first lead


def _change(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(bursts).values({c.name: sa.bindparam(c.name) for c in bursts.columns})
    new, old = insert.excluded, bursts.c

    def unless(other: Any, name: str) -> Any:
        """Return the first value of a column, or its present value if the burst has ended in the other way."""
        return sa.case((other.is_(None), sa.func.coalesce(old[name], new[name])), else_=old[name])

    return insert.on_conflict_do_update(
        index_elements=["id"],
        set_={
            **{name: sa.case((old[name] == _EMPTY, new[name]), else_=old[name]) for name in ("label", "source")},
            "last_at": new.last_at,
            "leads": old.leads + new.leads,
            **{name: unless(old.dropped_at, name) for name in ("released_at", "released_by")},
            **{name: unless(old.released_at, name) for name in ("dropped_at", "dropped_by", "drop_reason")},
            "served": new.served,
        },
    )


_CHANGE = statements.Sql(_change)
_ENDED = sa.or_(bursts.c.released_at.is_not(None), bursts.c.dropped_at.is_not(None))
_TO_SERVE = statements.Sql(lambda _: sa.select(bursts).where(_ENDED, bursts.c.served == 0).order_by(bursts.c.id))
_LIST = statements.Sql(lambda _: sa.select(bursts).order_by(bursts.c.last_at.desc(), bursts.c.id).limit(LISTED_MAX))
_ONE = statements.Sql(lambda _: sa.select(bursts).where(bursts.c.id == sa.bindparam("burst")))
_DELETE = statements.Sql(
    lambda _: sa.delete(bursts).where(
        bursts.c.id.in_(
            sa.select(bursts.c.id)
            .where(bursts.c.last_at < sa.bindparam("before"), _ENDED, bursts.c.served == 1)
            .order_by(bursts.c.last_at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


def ended_and_unserved(connection: Connection) -> Sequence[Any]:
    """Return the released and dropped bursts of which a lead may still be held back."""
    return _TO_SERVE.all(connection)


def list_bursts(connection: Connection) -> Sequence[Any]:
    """Return the newest `LISTED_MAX` bursts."""
    return _LIST.all(connection)


def find_burst(connection: Connection, id: str) -> Any:
    """Return one burst. None: unknown."""
    return _ONE.first(connection, burst=id)


def change_bursts(changes: Iterable[BurstChange]) -> statements.Work:
    """Return the work that adds these changes."""
    return _CHANGE, [msgspec.structs.astuple(one) for one in sorted(changes, key=lambda one: one.id)]


def delete_old_bursts(unit: Unit, limit: int) -> int:
    """Delete up to `limit` released or dropped bursts older than `DAYS_KEPT`. Return their number."""
    before = int(unit.now.timestamp() * 1_000_000) - DAYS_KEPT * _DAY
    return _DELETE.run(unit.connection, before=before, limit=limit)
