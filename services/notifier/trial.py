"""The pages that would follow records of the router, for a trial: the rules of clock and ladder, played ahead."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from schemas.events.actions import ActionRequested
from schemas.events.routes import LeadEvent
from services.notifier.context import NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import hear
from services.notifier.domain.firing import fire, settled
from services.notifier.domain.page import Page
from services.notifier.domain.recipients import Absences
from services.notifier.domain.terms import Terms
from services.notifier.store.clocks import find_clocks
from services.notifier.store.people import StoredLeave, read_absences

PAGES_MAX: Final = 20
_STEPS_MAX: Final = 60


class FollowingPage(NamedTuple):
    """A page that would follow. `person` empty, or `why`: it would not be sent, for this reason.

    `kind` `reassign`: no page; the lead would go to the next rep.
    """

    at: datetime
    kind: str
    person: str
    by: tuple[str, ...]
    why: str | None = None


class TriedPages(NamedTuple):
    """The end of the promise, and the pages until then, if no touch is recorded and each page is accepted at once."""

    promise_at: datetime | None
    pages: Sequence[FollowingPage]


def following_pages(
    connection: Connection, config: Config, context: NotifierContext, now: datetime, records: Sequence[LeadEvent]
) -> TriedPages:
    """Return the pages that would follow these records of one lead."""
    if not records:
        return TriedPages(None, ())
    terms = context.terms_of(config, StoredLeave(connection))
    clock = find_clocks(connection, [records[0].lead_id]).get(records[0].lead_id)
    for event in records:
        clock = hear(clock, event, terms, now).clock
    if clock is None or not clock.running:
        return TriedPages(None, ())
    return TriedPages(clock.promise_at, _played(clock, terms, read_absences(connection), now))


def _played(clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> list[FollowingPage]:
    """Play the ladder until the promise ends or the owner would change."""
    following: list[FollowingPage] = []
    for _ in range(_STEPS_MAX):
        if clock.due_at is None or not clock.running or clock.state == "missed" or len(following) >= PAGES_MAX:
            break
        at = max(clock.due_at, now)
        step = fire(clock, terms, at, at, absences)
        clock = step.clock or clock
        for page in step.pages:
            following.append(FollowingPage(at, page.kind, page.person, page.channels, _why(page)))
            if page.state == "pending":
                clock = settled(clock, replace(page, state="sent", sent_at=at), terms, at)
        if any(isinstance(event, ActionRequested) for event in step.events):
            following.append(FollowingPage(at, "reassign", "", ()))
            break
    return following


def _why(page: Page) -> str | None:
    return page.error if page.state == "cancelled" else None
