"""The SQL of the search: the terms of each lead, and the leads whose terms begin with a text.

Texts compare as bytes on both databases, so a beginning is a range of the primary key, whatever the locale of the server.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.storage.visible_leads import leads as view

LAST: Final = "\U0010ffff"
"""A character after all others."""
SEPARATOR: Final = "\n"

documents = sa.Table(
    "reporting_search",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("terms", statements.Text, nullable=False),  # one a line: what its rows of `reporting_terms` hold
    sqlite_with_rowid=False,
)
terms = sa.Table(
    "reporting_terms",
    statements.metadata,
    sa.Column("term", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, primary_key=True),
    sqlite_with_rowid=False,
)

_LIMIT: Final = sa.bindparam("limit", type_=sa.Integer)
_FIND = statements.Sql(lambda f: sa.select(documents).where(f.is_any_of(documents.c.lead_id, "leads")))
_SAVE = statements.Sql(lambda f: f.upsert(documents, ["lead_id"]))
_ADD = statements.Sql(
    lambda f: f.insert(terms).values({c.name: sa.bindparam(c.name) for c in terms.columns}).on_conflict_do_nothing()
)
_REMOVE = statements.Sql(
    lambda f: sa.delete(terms).where(terms.c.lead_id == sa.bindparam("lead"), f.is_any_of(terms.c.term, "old"))
)
_FORGET = statements.Sql(lambda f: sa.delete(documents).where(f.is_any_of(documents.c.lead_id, "leads")))


def _beginning(name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (terms.c.term >= sa.bindparam(name), terms.c.term < sa.bindparam(f"{name}_end"))


_BEGINNING = statements.Sql(
    lambda _: (
        sa.select(terms.c.lead_id).where(*_beginning("text")).order_by(terms.c.term, terms.c.lead_id).limit(_LIMIT)
    )
)


_VISIBLE = statements.Sql(
    lambda f: (
        sa.select(documents)
        .where(
            documents.c.lead_id.in_(
                sa.union_all(
                    sa.select(view.c.id).where(f.is_any_of(view.c.owner, "owners")),
                    sa.select(view.c.id).where(f.is_any_of(view.c.queue_pool, "pools")),
                )
            )
        )
        .limit(_LIMIT)
    )
)
_BY_ID = statements.Sql(
    lambda _: (
        sa.select(view.c.id)
        .where(view.c.id >= sa.bindparam("text"), view.c.id < sa.bindparam("text_end"))
        .order_by(view.c.id.desc())
        .limit(_LIMIT)
    )
)


def find_terms(connection: Connection, leads: Collection[str]) -> dict[str, list[str]]:
    """Return the terms of these leads. A lead without any is left out."""
    return {row.lead_id: row.terms.split(SEPARATOR) for row in _FIND.all(connection, leads=sorted(leads))}


def store_terms(unit: Unit, changed: Mapping[str, Sequence[str]]) -> None:
    """Store the terms of these leads, where they differ from the stored ones."""
    stored = find_terms(unit.connection, changed)
    documents_of, rows = [], []
    for lead, after in sorted(changed.items()):
        before = stored.get(lead, [])
        if list(after) == before:
            continue
        gone = sorted(set(before) - set(after))
        if gone:
            _REMOVE.run(unit.connection, lead=lead, old=gone)
        documents_of.append({"lead_id": lead, "terms": SEPARATOR.join(after)})
        rows += [{"term": term, "lead_id": lead} for term in after if term not in before]
    rows.sort(key=lambda row: (row["term"], row["lead_id"]))
    unit.store(_SAVE.work(unit.connection, documents_of), _ADD.work(unit.connection, rows))


def forget(unit: Unit, leads: Collection[str]) -> None:
    """Remove these leads from the search."""
    for lead, old in sorted(find_terms(unit.connection, leads).items()):
        _REMOVE.run(unit.connection, lead=lead, old=old)
    _FORGET.run(unit.connection, leads=sorted(leads))


def beginning_with(connection: Connection, text: str, limit: int) -> list[str]:
    """Return leads with a term that begins with a text, in the order of the terms."""
    return [row[0] for row in _BEGINNING.all(connection, text=text, text_end=text + LAST, limit=limit)]


def with_id(connection: Connection, text: str, limit: int) -> list[str]:
    """Return the newest leads whose id begins with a text."""
    return [row[0] for row in _BY_ID.all(connection, text=text, text_end=text + LAST, limit=limit)]


def visible_terms(connection: Connection, visible: VisibleLeads, limit: int) -> dict[str, list[str]]:
    """Return the terms of visible leads."""
    rows = _VISIBLE.all(connection, **visible.arrays, limit=limit)
    return {row.lead_id: row.terms.split(SEPARATOR) for row in rows}
