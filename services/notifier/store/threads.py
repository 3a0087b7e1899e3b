"""The SQL that finds the thread of a mail."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from services.notifier.domain.page import Page
from services.notifier.store.tables import pages

_FIRST_MAIL = statements.Sql(
    lambda _: (
        sa.select(pages.c.provider_id)
        .where(
            pages.c.lead_id == sa.bindparam("lead"),
            pages.c.person == sa.bindparam("person"),
            pages.c.id != sa.bindparam("page"),
            pages.c.state == "sent",
            pages.c.provider_id.like("<%@%>"),
        )
        .order_by(pages.c.sent_at, pages.c.id)
        .limit(1)
    )
)


def first_mail(connection: Connection, page: Page) -> str | None:
    """Return the Message-ID of the first mail about this lead to this person; None: there is none before this page."""
    row = _FIRST_MAIL.first(connection, lead=page.lead_id, person=page.person, page=page.id)
    return None if row is None else str(row[0])
