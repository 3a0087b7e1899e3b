"""The reasons for which a page must not be sent."""

from datetime import datetime
from typing import NamedTuple

from services.notifier.domain.cadence import is_obsolete
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_events import BY_OWNER
from services.notifier.domain.page import TO_OWNER, WAITING, Page, index_of
from services.notifier.domain.terms import Terms


class Availability(NamedTuple):
    """The availability of a person in the newest record of the router. `until`: its end; None: open-ended."""

    state: str
    until: datetime | None
    version: int = 0

    def away(self, now: datetime) -> str | None:
        """Return `away` or `deactivated`; None: the person is available, or the absence has ended."""
        over = self.until is not None and self.until <= now
        return None if self.state == "available" or over else self.state


def absence(person: str, terms: Terms, availability: Availability | None, now: datetime) -> str | None:
    """Return why this person is not there, as a sentence; None: the person is."""
    rep = terms.team.rep_by_id.get(person)
    if rep is None:
        return f"{person} is not in team.yaml"
    away = None if availability is None else availability.away(now)
    if away == "deactivated" or not rep.active:
        return f"{person} is deactivated"
    if away == "away" or rep.away_until(now) is not None:
        return f"{person} is away"
    return None


def objection(
    page: Page, clock: ResponseClock | None, terms: Terms, availability: Availability | None, now: datetime
) -> str | None:
    """Return why this page must not be sent now; None: it may be sent."""
    return untrue(page, clock) or unreachable(page, clock, terms, availability, now)


def untrue(page: Page, clock: ResponseClock | None) -> str | None:
    """Return why this page is no longer true; None: it still is.

    The caller holds the lock of the clock: no page is claimed after a touch or an opt-out is stored.
    """
    if clock is not None and page.kind == "next_attempt":
        return is_obsolete(page, clock)
    if clock is not None and page.kind == "refused":
        return "the assignment ended" if clock.rep is None or page.epoch != clock.epoch else None
    if clock is not None and page.kind == "lost":
        return f"{page.person} has the lead again" if clock.rep == page.person else None
    if clock is not None and page.kind == "handed_on":
        ended = (clock.rep, clock.epoch) != (page.person, page.epoch) or clock.opted_out
        return "the assignment ended" if ended else "the ladder tells the owner" if clock.running else None
    if clock is None or not clock.running:
        return "a touch was recorded" if clock and clock.touched_at else "the clock has ended"
    if page.kind == "missed":
        if clock.state != "missed":
            return "a newer request has its own clock"
    elif page.epoch != clock.epoch or (clock.rep is None) != (index_of(page.rung) >= WAITING):
        return "the assignment ended"
    return BY_OWNER if clock.accepted and page.kind in TO_OWNER else None


def unreachable(
    page: Page, clock: ResponseClock | None, terms: Terms, availability: Availability | None, now: datetime
) -> str | None:
    """Return why the recipient of this page cannot be paged now; None: they can be. A Slack channel always can."""
    if page.kind == "channel":
        return None
    if availability is not None and clock is not None and _outdated(availability, page, clock):
        availability = None
    gone = absence(page.person, terms, availability, now)
    if gone is not None:
        return gone
    if not terms.reaching(page.person, page.channels):
        return f"{page.person} has no address in team.yaml for {', '.join(page.channels)}"
    return None


def _outdated(availability: Availability, page: Page, clock: ResponseClock) -> bool:
    """Return whether the router used a newer availability for the assignment, whose record has not been read here yet."""
    return page.person == clock.rep and availability.version < clock.rep_version
