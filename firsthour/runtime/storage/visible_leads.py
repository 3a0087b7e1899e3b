"""Selects the leads that a rep sees, in statements of every service: by their owner and queue of now."""

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.storage import statements

leads = sa.table("leads", *(sa.column(name) for name in ("id", "owner", "queue_pool")))
"""The view of all leads."""
_STANDINGS = statements.Sql(lambda f: sa.select(leads).where(f.is_any_of(leads.c.id, "leads")))


def is_visible(dialect: statements.SqlDialect, lead: Any) -> sa.ColumnElement[bool]:
    """Return the condition that the lead in this column is visible. Its parameters are `VisibleLeads.arrays`."""
    one = leads.alias("visible")
    return sa.exists().where(one.c.id == lead, visible_among(dialect, one))


def visible_among(dialect: statements.SqlDialect, view: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a row of a view of leads is visible, with the same parameters."""
    return sa.or_(dialect.is_any_of(view.c.owner, "owners"), dialect.is_any_of(view.c.queue_pool, "pools"))


def standings(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[str | None, str | None]]:
    """Return the owner and the pool of the queue of these leads. An unknown lead is left out."""
    rows = _STANDINGS.all(connection, leads=sorted(set(ids)))
    return {row.id: (row.owner, row.queue_pool) for row in rows}


def visible_ids(connection: Connection, visible: VisibleLeads, ids: Collection[str]) -> set[str]:
    """Return those of these leads that are visible."""
    return {id for id, standing in standings(connection, ids).items() if visible.includes(*standing)}
