"""The standing of a page that was sent: what became of its assignment, and the buttons that still have an effect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.team import Team
from services.notifier.domain.cadence import is_obsolete
from services.notifier.domain.click import Action
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.outside_text import NAME_CHARS_MAX, unlinked
from services.notifier.domain.page import Page
from services.notifier.domain.snooze import SNOOZE
from services.notifier.domain.terms import Terms
from services.notifier.domain.voices import TO_MANAGER

ALL_ACTIONS: Final[tuple[Action, ...]] = ("accept", "reached", "no_answer", "reject", "snooze", "hand_over")
TOUCHES: Final[tuple[Action, ...]] = ("reached", "no_answer")
_OF_MANAGER: Final[tuple[Action, ...]] = ("reached", "no_answer", "hand_over")
_BEFORE_ACCEPT: Final = frozenset({"accept", "reject"})
"""The actions of an owner who has not accepted. An accepted lead goes back by the statuses of the agreement."""
_OWNERLESS: Final = frozenset({"queued", "reminder", "missed"})
"""The kinds of pages that may be about a lead without an owner."""
_BY_KIND: Final[Mapping[str, tuple[Action, ...]]] = {
    "owner": ALL_ACTIONS,
    "reassigned": ALL_ACTIONS,
    "reminder": _OF_MANAGER,
    "again": ALL_ACTIONS,
    "manager": _OF_MANAGER,
    "missed": _OF_MANAGER,
    "cover": ("accept", "reached", "no_answer"),
    "channel": ("accept", "reached", "no_answer"),
    "next_attempt": _OF_MANAGER,
    "lost": TOUCHES,
    "handed_on": ("reached", "no_answer", "hand_over", "reject"),
    "refused": _OF_MANAGER,
    "queued": _OF_MANAGER,
}
"""The buttons of a page by its kind. Another kind has none."""


@dataclass(frozen=True)
class PageStanding:
    """What became of the assignment of a page. `text` None: nothing has happened yet."""

    text: str | None
    actions: tuple[Action, ...]
    notice: str | None = None  # for the person: why a click was refused later
    ended: bool = False  # the assignment is over: the facts about the lead are no longer shown
    over: bool = False  # nothing is asked of the person any more

    @property
    def identity(self) -> str:
        """What a message that shows it looks like, apart from the lead."""
        return f"{self.text or ''}|{','.join(self.actions)}|{self.notice or ''}"


OPEN: Final = PageStanding(None, ())


def standing(page: Page, clock: ResponseClock, terms: Terms) -> PageStanding:
    """Return the standing of this page."""
    kind: str = page.kind
    team, offered = terms.team, _offered(page, clock, terms)
    if clock.opted_out:
        return _ended("Closed: the person opted out.")
    if kind == "lost":
        return PageStanding(None, offered if clock.touched_at is None else ())
    if kind == "next_attempt":
        obsolete = is_obsolete(page, clock) is not None
        return PageStanding("No longer needed.", (), over=True) if obsolete else PageStanding(None, offered)
    if kind == "handed_on" and (clock.rep, clock.epoch) == (page.person, page.epoch):
        return PageStanding(None, offered)
    if clock.touched_at is not None and page.epoch == clock.epoch:
        return _touched(page, clock)
    if clock.rep is None and not clock.running:
        return _ended("Closed.")
    if clock.rep is None and kind in _OWNERLESS and page.epoch == clock.epoch:
        return PageStanding(None, offered)
    if clock.rep is None or page.epoch != clock.epoch:
        verb = "Assigned" if kind == "queued" else "Reassigned"
        return _ended(f"{verb} to {_name(team, clock.rep)}." if clock.rep else "Waits for another owner.")
    if clock.accepted:
        return PageStanding(
            f"Accepted by {_name(team, clock.rep)}.", tuple(a for a in offered if a not in _BEFORE_ACCEPT)
        )
    return PageStanding(None, offered)


def _offered(page: Page, clock: ResponseClock, terms: Terms) -> tuple[Action, ...]:
    """Return the actions of the person while nothing has happened."""
    offered = _BY_KIND.get(page.kind, ())
    if page.kind in TO_MANAGER and page.person == clock.rep:
        offered = ALL_ACTIONS
    if page.kind == "refused" and page.person not in (clock.rep, *terms.team.managers(clock.rep or "")):
        offered = TOUCHES
    if clock.state == "missed" and SNOOZE not in terms.pauses:
        offered = tuple(action for action in offered if action != SNOOZE)  # there is no promised time left to wait for
    return offered


def _touched(page: Page, clock: ResponseClock) -> PageStanding:
    """Return the standing of a page after a touch. The owner goes on trying until there is a conversation."""
    if clock.talked_at is not None:
        return PageStanding("Contacted: the clock has stopped.", (), over=True)
    goes_on = TOUCHES if page.person == clock.rep else ()
    said = "Tried, without an answer" if clock.attempts else "A contact or an attempt is recorded"
    return PageStanding(f"{said}: the clock has stopped.", goes_on, over=True)


def _ended(text: str) -> PageStanding:
    return PageStanding(text, (), ended=True, over=True)


def stands_differently(was: ResponseClock, clock: ResponseClock) -> bool:
    """Return whether the messages about a lead may stand differently now. It does not depend on the page."""
    return _shown(was) != _shown(clock)


def _shown(clock: ResponseClock) -> tuple[object, ...]:
    touched = clock.touched_at is None, clock.talked_at is None, clock.attempts == 0
    return clock.epoch, clock.rep, clock.accepted, *touched, clock.opted_out, clock.running


def _name(team: Team, id: str) -> str:
    rep = team.rep_by_id.get(id)
    return unlinked(rep.name if rep else id, NAME_CHARS_MAX)
