"""The recipient of a page whose own recipient is not there: the next manager who is, else a team, else a manager who is away."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.objection import absence
from services.notifier.domain.page import Page, page_id
from services.notifier.domain.recipients import Absences, managers
from services.notifier.domain.terms import Terms

FOR_ANY_MANAGER: Final = frozenset({"manager", "missed", "reminder", "queued"})
"""The kinds of pages that any manager of the owner may get."""
FALLS_BACK: Final = FOR_ANY_MANAGER | {"refused", "handed_on"}
"""The kinds of pages that do not end because their recipient is away: no later page says the same."""


def next_there(page: Page, clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> Iterator[Page]:
    """Yield this page to each other person who may get it, is there and has an address, the next manager up first."""

    def is_there(person: str) -> bool:
        return absence(person, terms, absences.get(person), now) is None

    yield from (_to(person, page) for person in _others(page, clock, terms, is_there))


def nearest_away(page: Page, clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> Iterator[Page]:
    """Yield this page to each person who may get it and is no more than away: its own recipient first, then the nearest."""

    def is_in_team(person: str) -> bool:
        rep, availability = terms.team.rep_by_id.get(person), absences.get(person)
        away = availability.away(now) if availability is not None else None
        return rep is not None and rep.active and away != "deactivated"

    if is_in_team(page.person) and terms.reaching(page.person, page.channels):
        yield page
    yield from (_to(person, page) for person in _others(page, clock, terms, is_in_team))


def _others(page: Page, clock: ResponseClock, terms: Terms, is_eligible: Callable[[str], bool]) -> Iterator[str]:
    if page.kind not in FOR_ANY_MANAGER:
        return
    people = [person for person in dict.fromkeys(managers(clock, terms)) if person != clock.rep]
    if page.kind == "reminder" and clock.rep is not None:
        people.append(clock.rep)
    above = people.index(page.person) + 1 if page.person in people else 0
    for person in [*people[above:], *people[:above]]:
        if person != page.person and is_eligible(person) and terms.reaching(person, page.channels):
            yield person


def _to(person: str, page: Page) -> Page:
    """Return the page to another person: it is tried anew, and keeps the time at which its rung was reached."""
    return replace(
        page,
        id=page_id(page.lead_id, page.epoch, page.rung, person),
        person=person,
        channel_index=0,
        state="pending",
        first_try_at=None,
        tries=0,
        refusals=0,
        deliveries=0,
        error=None,
        delay="",
        claimed_at=None,
        carrier=None,
    )
