"""The search for leads by mail, name, company, phone or id, with a bounded number of look-ups for any text."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.normalisation.search_terms import SearchQuery, matches, read_query
from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.visible_leads import visible_among
from schemas.http import LeadView, Listing
from services.reporting import lead_view
from services.reporting.lead_view import LeadFilter, view
from services.reporting.search_terms import (
    beginning_with,
    find_terms,
    visible_terms,
    with_id,
)

CANDIDATES_MAX: Final = 1_000
"""Leads that are read for a text. Of a text that more leads begin with, these are found."""
COMPARED_MAX: Final = 3_000
"""Leads that are compared with further words, if each word is the beginning of more than `CANDIDATES_MAX`."""
VISIBLE_MAX: Final = 10_000


def _rows(dialect: statements.SqlDialect, *where: sa.ColumnElement[bool]) -> Any:
    filters = []
    for name in ("status", "owner", "email"):
        value = sa.bindparam(name, type_=sa.Text)
        filters.append(sa.or_(value.is_(None), view.c[name] == value))
    limit = sa.bindparam("limit", type_=sa.Integer)
    among = dialect.is_any_of(view.c.id, "leads")
    return sa.select(view).where(among, *filters, *where).order_by(view.c.id.desc()).limit(limit)


_ROWS = statements.Sql(_rows)
_VISIBLE_ROWS = statements.Sql(lambda f: _rows(f, visible_among(f, view)))


def search(
    connection: Connection, text: str, criteria: LeadFilter, config: Config, now: datetime, visible: VisibleLeads | None
) -> Listing[LeadView]:
    """Return the leads that a text means, newest first.

    Args:
        text: the beginnings of words, a phone number or the beginning of an id.
        criteria: further conditions. `email` must be normalised.
        now: business time.
        visible: only these leads. None: all.
    """
    query = read_query(text)
    ids = _candidates(connection, query, visible)
    if criteria.cursor is not None:
        ids = {id for id in ids if id < criteria.cursor}
    newest = sorted(ids, reverse=True)
    if visible is None and criteria.status is criteria.owner is criteria.email is None:
        newest = newest[: criteria.limit + 1]
    values: Mapping[str, Any] = {
        "leads": newest,
        "status": criteria.status,
        "owner": criteria.owner,
        "email": criteria.email,
        "limit": criteria.limit + 1,
    }
    rows = (
        _ROWS.all(connection, **values)
        if visible is None
        else _VISIBLE_ROWS.all(connection, **values, **visible.arrays)
    )
    return lead_view.listing(rows, criteria.limit, config, now)


def _candidates(connection: Connection, query: SearchQuery, visible: VisibleLeads | None) -> set[str]:
    found = set[str]()
    if query.id is not None:
        found.update(with_id(connection, query.id, CANDIDATES_MAX))
    for phone in query.phones:
        found.update(beginning_with(connection, phone, CANDIDATES_MAX))
    if query.words:
        together = beginning_with(connection, query.phrase, CANDIDATES_MAX)
        found.update(together)
        if len(query.words) > 1 and len(together) < CANDIDATES_MAX:
            found.update(_with_words(connection, query.words))
    if visible is not None and len(found) >= CANDIDATES_MAX:
        found.update(_visible_with(connection, query, visible))
    return found


def _with_words(connection: Connection, words: Sequence[str]) -> list[str]:
    """Return leads with all of these words, in any order and field."""
    longest = sorted(set(words), key=lambda word: (-len(word), word))
    leads: list[str] = []
    for word in longest:
        leads = beginning_with(connection, word, CANDIDATES_MAX)
        if len(leads) < CANDIDATES_MAX:
            break
    else:
        leads = beginning_with(connection, longest[0], COMPARED_MAX)
    return [lead for lead, terms in find_terms(connection, leads).items() if matches(terms, words)]


def _visible_with(connection: Connection, query: SearchQuery, visible: VisibleLeads) -> list[str]:
    """Return leads that a rep sees, of a text with which too many leads begin."""
    rows = visible_terms(connection, visible, VISIBLE_MAX).items()
    wanted = [query.words, *((phone,) for phone in query.phones)]
    return [lead for lead, terms in rows if any(words and matches(terms, words) for words in wanted)]
