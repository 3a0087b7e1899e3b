"""The statements about lists of pages for people: those that wait, and the attempts to send each."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import moment
from firsthour.runtime.storage import statements
from services.notifier.domain.page import Page
from services.notifier.store.pages import Attempt, find_pages
from services.notifier.store.tables import attempts, pages

_WAITING = statements.Sql(
    lambda _: (
        sa.select(pages.c.id)
        .where(pages.c.next_at.is_not(None))
        .order_by(pages.c.rank, pages.c.next_at, pages.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_ATTEMPTS_OF = statements.Sql(
    lambda f: (
        sa.select(attempts).where(f.is_any_of(attempts.c.page_id, "ids")).order_by(attempts.c.page_id, attempts.c.n)
    )
)


def list_waiting_pages(connection: Connection, limit: int) -> list[Page]:
    """Return pages that have not ended, the most urgent and the next to be tried first."""
    ids = [row.id for row in _WAITING.all(connection, limit=limit)]
    found = find_pages(connection, ids)
    return [found[id] for id in ids if id in found]


def attempts_by_page(connection: Connection, ids: Collection[str]) -> dict[str, list[Attempt]]:
    """Return the attempts to send each of these pages, in their order."""
    by_page: dict[str, list[Attempt]] = {}
    for row in _ATTEMPTS_OF.all(connection, ids=sorted(ids)):
        attempt = Attempt(row.page_id, row.n, row.channel, moment(row.at), row.outcome, row.detail)
        by_page.setdefault(row.page_id, []).append(attempt)
    return by_page
