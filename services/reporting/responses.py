"""The SQL of the requests of leads: one row for each request, with the response to it."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from operator import attrgetter

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.reporting.domain.response import ProspectRequest
from services.reporting.store import statuses

responses = sa.Table(
    "reporting_responses",
    statements.metadata,
    sa.Column("submit_at", statements.Integer, primary_key=True, autoincrement=False),  # first: reports read a time
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("urgency", statements.Text, nullable=False),
    sa.Column("source", statements.Text),
    sa.Column("rep", statements.Text),
    sa.Column("touched_at", statements.Integer),
    sa.Column("working_us", statements.Integer),
    sa.Column("hour_at", statements.Integer),
    sa.Column("left_at", statements.Integer),
    sa.Column("attempts", statements.Integer, nullable=False),
    sa.Column("conversations", statements.Integer, nullable=False),
    sa.Column("held_at", statements.Integer),
    sa.Column("released_at", statements.Integer),
    sa.Index("reporting_responses_by_lead", "lead_id"),
    sqlite_with_rowid=False,
)
aliases = sa.Table(
    "reporting_aliases",
    statements.metadata,
    sa.Column("merged_id", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, nullable=False),  # the lead that remains
    sa.Index("reporting_aliases_by_lead", "lead_id"),
    sqlite_with_rowid=False,
)
_ALIASES = statements.Sql(lambda f: sa.select(aliases).where(f.is_any_of(aliases.c.merged_id, "leads")))
_MERGED = statements.Sql(lambda f: sa.select(aliases).where(f.is_any_of(aliases.c.lead_id, "leads")))
_SAVE_ALIASES = statements.Sql(lambda f: f.upsert(aliases, ["merged_id"]))
_MOVE_ALIASES = statements.Sql(
    lambda _: (
        sa.update(aliases).where(aliases.c.lead_id == sa.bindparam("merged")).values(lead_id=sa.bindparam("remaining"))
    )
)
# The row of the status stands for the lead: it exists before the first request, and is locked by every writer.
_LOCK = statements.Sql(
    lambda f: (
        sa.select(statuses.c.lead_id)
        .where(f.is_any_of(statuses.c.lead_id, "leads"))
        .order_by(statuses.c.lead_id)
        .with_for_update()
    )
)
_ADD_LEADS = statements.Sql(
    lambda f: (
        f.insert(statuses).values({c.name: sa.bindparam(c.name) for c in statuses.columns}).on_conflict_do_nothing()
    )
)
_LOAD = statements.Sql(
    lambda f: (
        sa.select(responses)
        .where(f.is_any_of(responses.c.lead_id, "leads"))
        .order_by(responses.c.lead_id, responses.c.submit_at)
    )
)
_SAVE = statements.Sql(lambda f: f.upsert(responses, ["lead_id", "submit_at"]))
_DELETE_LEAD = statements.Sql(lambda f: sa.delete(responses).where(f.is_any_of(responses.c.lead_id, "leads")))
_DELETE_OLD = statements.Sql(
    lambda _: sa.delete(responses).where(
        sa.tuple_(responses.c.lead_id, responses.c.submit_at).in_(
            sa.select(responses.c.lead_id, responses.c.submit_at)
            .where(responses.c.submit_at < sa.bindparam("before"))
            .order_by(responses.c.submit_at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


def remaining_ids(unit: Unit, leads: Collection[str]) -> dict[str, str]:
    """Return the lead that remains of each of these leads: itself, unless it was merged into another one."""
    merged = {row.merged_id: row.lead_id for row in _ALIASES.all(unit.connection, leads=sorted(leads))}
    return {lead: merged.get(lead, lead) for lead in leads}


def merged_ids(unit: Unit, leads: Collection[str]) -> dict[str, list[str]]:
    """Return the leads that were merged into each of these leads."""
    merged: dict[str, list[str]] = defaultdict(list)
    for row in _MERGED.all(unit.connection, leads=sorted(leads)):
        merged[row.lead_id].append(row.merged_id)
    return merged


def save_alias(unit: Unit, merged: str, remaining: str) -> None:
    """Note that a lead was merged into another one, with all leads that were merged into it before."""
    _MOVE_ALIASES.run(unit.connection, merged=merged, remaining=remaining)
    _SAVE_ALIASES.many(unit.connection, [{"merged_id": merged, "lead_id": remaining}])


def lock_leads(unit: Unit, leads: Collection[str], first: str | None = None) -> None:
    """Lock these leads: every writer of a model does, before it loads.

    Args:
        first: the status in which a lead begins. A lead without a row of its status gets one, so that two units that read its
            first records from different topics do not both begin with nothing. None: no row is added.
    """
    rows = _LOCK.all(unit.connection, leads=sorted(leads))
    if first is None or len(rows) == len(leads):
        return
    missing = sorted(set(leads) - {row.lead_id for row in rows})
    _ADD_LEADS.many(unit.connection, [{"lead_id": lead, "status": first, "version": -1} for lead in missing])
    if unit.connection.dialect.name != "sqlite":
        _LOCK.all(unit.connection, leads=missing)


def find_requests(connection: Connection, leads: Collection[str]) -> dict[str, list[ProspectRequest]]:
    """Return the requests of each of these leads, the oldest first."""
    requests: dict[str, list[ProspectRequest]] = {lead: [] for lead in leads}
    for row in _LOAD.all(connection, leads=sorted(leads)):
        values = {name: row._mapping[name] for name in ProspectRequest.__struct_fields__}
        requests[row.lead_id].append(ProspectRequest(**values))
    return requests


def save_requests(unit: Unit, changed: Iterable[ProspectRequest]) -> None:
    """Store these requests at once: a unit of the embedded profile may go on with the records of another topic."""
    rows = [msgspec.structs.asdict(request) for request in sorted(changed, key=attrgetter("lead_id", "submit_at"))]
    _SAVE.many(unit.connection, rows)


def delete_requests(unit: Unit, leads: Collection[str]) -> None:
    """Delete all requests of these leads."""
    if leads:
        _DELETE_LEAD.run(unit.connection, leads=sorted(leads))


def delete_before(unit: Unit, before: int, limit: int) -> int:
    """Delete up to `limit` requests from before that time (microseconds). Return their number."""
    return _DELETE_OLD.run(unit.connection, before=before, limit=limit)
