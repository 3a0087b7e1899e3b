"""The audit log: what people did, with their key or session, the target and the result. It holds ids, and no personal data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.clock import Clock, new_id
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit

KEPT: Final = timedelta(days=400)
FILTERS: Final = ("actor", "target", "action")
AuditPosition = tuple[int, str]
"""Time (microseconds) and id."""
NEWEST: Final[AuditPosition] = (2**62, "")

audit_log = sa.Table(
    "audit_log",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("at", statements.Integer, nullable=False),  # business time, as in the timelines of leads
    sa.Column("actor", statements.Text, nullable=False),  # `rep:<id>`, `key:<name>`, `system`
    sa.Column("role", statements.Text, nullable=False),
    sa.Column(
        "via", statements.Text, nullable=False
    ),  # the id of the key, `session:<id>`, `slack`, `email`, `page`, `cli`
    sa.Column("action", statements.Text, nullable=False),
    sa.Column("target", statements.Text, nullable=False),  # an id; empty: none
    sa.Column("status", statements.Integer, nullable=False),  # as of HTTP
    sa.Column("request_id", statements.Text, nullable=False),  # empty: no HTTP request
    sa.Index("audit_log_by_age", "at", "id"),
    sa.Index("audit_log_by_actor", "actor", "at", "id"),
    sa.Index("audit_log_by_target", "target", "at", "id"),
    sqlite_with_rowid=False,
)

_INSERT = statements.Sql(
    lambda _: sa.insert(audit_log).values({c.name: sa.bindparam(c.name) for c in audit_log.columns})
)
_SWEEP = statements.Sql(
    lambda _: sa.delete(audit_log).where(
        audit_log.c.id.in_(
            sa.select(audit_log.c.id)
            .where(audit_log.c.at < sa.bindparam("before"))
            .order_by(audit_log.c.at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


def _page(*names: str) -> statements.Sql:
    c = audit_log.c
    place = sa.tuple_(sa.bindparam("before_at", type_=sa.BigInteger), sa.bindparam("before_id", type_=sa.Text))
    conditions = [
        *(c[name] == sa.bindparam(name) for name in names),
        c.at >= sa.bindparam("since"),
        sa.tuple_(c.at, c.id) < place,
    ]
    limit = sa.bindparam("limit", type_=sa.Integer)
    return statements.Sql(
        lambda _: sa.select(audit_log).where(*conditions).order_by(c.at.desc(), c.id.desc()).limit(limit)
    )


_PAGES: Final = {
    names: _page(*names)
    for names in (tuple(f for n, f in enumerate(FILTERS) if bits >> n & 1) for bits in range(1 << len(FILTERS)))
}


@dataclass(frozen=True)
class AuditRecord:
    """One action of a person. `status`: as of HTTP; 202, if another service decides later."""

    actor: str
    role: str
    via: str
    action: str
    target: str = ""
    status: int = 200
    request_id: str = ""


def outcome(status: int) -> Literal["done", "requested", "refused", "failed"]:
    """Return what became of an action with this status."""
    if status == 202:
        return "requested"
    return "done" if status < 400 else "refused" if status < 500 else "failed"


def note(unit: Unit, record: AuditRecord) -> None:
    """Store a record of now with this unit."""
    store(unit.connection, [row_of(record, unit.clock)])


def row_of(record: AuditRecord, clock: Clock) -> dict[str, Any]:
    """Return the row of a record of now."""
    return {"id": new_id(), "at": micros(clock.business()), **vars(record)}


def store(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store rows of `row_of`."""
    _INSERT.many(connection, rows)


def page(
    connection: Connection, filters: Mapping[str, str], since: int, before: AuditPosition, limit: int
) -> Sequence[Any]:
    """Return the newest records before a position. `since`: microseconds."""
    names = tuple(name for name in FILTERS if name in filters)
    return _PAGES[names].all(connection, **filters, since=since, before_at=before[0], before_id=before[1], limit=limit)


def sweep(unit: Unit, limit: int) -> int:
    """Remove up to `limit` records older than `KEPT`. Return their number."""
    return _SWEEP.run(unit.connection, before=micros(unit.clock.business() - KEPT), limit=limit)
