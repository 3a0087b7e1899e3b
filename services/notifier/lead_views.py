"""Load a lead for the person of a link: the page that the link belongs to, the clock, and the history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from services.notifier.context import NotifierContext
from services.notifier.domain.click import not_free, reject_reasons
from services.notifier.domain.lead_actions import Facts, click_of
from services.notifier.domain.lead_page import LeadPage, lead_page
from services.notifier.domain.link import Link
from services.notifier.domain.link_standing import EXPIRED, GONE, Refusal, ending, refusal
from services.notifier.domain.message import message_of
from services.notifier.domain.timeline import LINES_MAX, HistoryEntry, timeline
from services.notifier.store.clicks import is_used, paged_as
from services.notifier.store.clocks import find_clocks
from services.notifier.store.pages import find_page
from services.notifier.store.people import StoredLeave

History = Callable[[Connection, str, int], Sequence[HistoryEntry]]
"""Returns the newest records of a lead, newest first, at most so many. Bootstrap takes it from reporting."""
RECORDS_MAX = 3 * LINES_MAX


@dataclass(frozen=True)
class OpenedLead:
    """The lead of a link that stands. `lead` None: the assignment has ended, and `ended` says so; nothing of it is shown."""

    facts: Facts
    lead: LeadPage | None
    ended: Refusal | None
    used: bool  # the click of the link was received before, and not refused


@dataclass(frozen=True)
class LeadLoader:
    """Loads leads. `config`: the configuration in force. `now`: business time; `real`: real time."""

    context: NotifierContext
    history: History
    config: Config
    now: datetime
    real: datetime

    def load(self, connection: Connection, link: Link, token: str) -> OpenedLead | Refusal:
        """Return the lead of this link, or why the link does nothing. `token`: of the link."""
        if self.real >= link.expires_at:
            return EXPIRED
        page = find_page(connection, link.page_id)
        clock = find_clocks(connection, {page.lead_id}).get(page.lead_id) if page is not None else None
        if page is None or clock is None:
            return GONE
        team = self.config.team
        refused = refusal(link, page, clock, team)
        if refused is not None:
            return refused
        terms = self.context.terms_of(self.config, StoredLeave(connection))
        terms = self.context.handing_over(terms, connection, self.config, self.now)
        paged = paged_as(connection, page.lead_id, page.person)
        facts = Facts(page, clock, paged, terms, reject_reasons(self.config.agreement.lifecycle, clock), self.now)
        used = link.action != "open" and is_used(connection, click_of(page, link.action, self.now, token, {}).id)
        ended = ending(page, clock, team)
        if ended is not None:
            return OpenedLead(facts, None, ended, used)
        message = replace(message_of(page, clock, terms, self.now, None), is_opened=True)
        lines = timeline(self.history(connection, page.lead_id, RECORDS_MAX), team)
        blocked = not_free(terms, clock) if clock.rep is None else ""
        return OpenedLead(facts, lead_page(message, clock, lines, self.now, blocked), None, used)
