"""Load a lead for the person of a link: the page that the link belongs to, the clock, and the history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from services.notifier.context import NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.lead_page import LeadPage, lead_page
from services.notifier.domain.link import Link
from services.notifier.domain.link_standing import EXPIRED, GONE, Refusal, ending, refusal
from services.notifier.domain.message import message_of
from services.notifier.domain.page import Page
from services.notifier.domain.timeline import LINES_MAX, HistoryEntry, timeline
from services.notifier.store.clocks import find_clocks
from services.notifier.store.pages import find_page

History = Callable[[Connection, str, int], Sequence[HistoryEntry]]
"""Returns the newest records of a lead, newest first, at most so many. Bootstrap takes it from reporting."""
RECORDS_MAX = 3 * LINES_MAX


@dataclass(frozen=True)
class OpenedLead:
    """The lead of a link that stands. `lead` None: the assignment has ended, and `ended` says so; nothing of it is shown."""

    page: Page
    clock: ResponseClock
    lead: LeadPage | None
    ended: Refusal | None


def view(
    connection: Connection,
    link: Link,
    context: NotifierContext,
    config: Config,
    history: History,
    now: datetime,
    real: datetime,
) -> OpenedLead | Refusal:
    """Return the lead of this link, or why the link does nothing. `now`: business time; `real`: real time."""
    if real >= link.expires_at:
        return EXPIRED
    page = find_page(connection, link.page_id)
    clock = find_clocks(connection, {page.lead_id}).get(page.lead_id) if page is not None else None
    if page is None or clock is None:
        return GONE
    refused = refusal(link, page, clock, config.team)
    if refused is not None:
        return refused
    ended = ending(page, clock, config.team)
    if ended is not None:
        return OpenedLead(page, clock, None, ended)
    message = message_of(page, clock, context.terms_of(config), now, None)
    lines = timeline(history(connection, page.lead_id, RECORDS_MAX), config.team)
    return OpenedLead(page, clock, lead_page(message, clock, lines, now), None)
