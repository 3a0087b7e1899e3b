"""Pages whose recipient is not there: another person, or a team, is told in the unit that finds it out. No network here."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Final

import structlog
from msgspec.structs import replace

from firsthour.runtime.storage.unit import Unit
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.fallback import FALLS_BACK, FOR_ANY_MANAGER, nearest_away, next_there
from services.notifier.domain.message import message_of
from services.notifier.domain.message_text import words
from services.notifier.domain.notice import OPERATOR, SALES, contact_of
from services.notifier.domain.page import ALTHOUGH, Page, cancelled, storable
from services.notifier.domain.recipients import Absences
from services.notifier.domain.terms import Terms
from services.notifier.store.pages import lookup_new
from services.notifier.store.people import find_absences
from services.notifier.telling import tell

SINGLE_MAX: Final = 5
"""Leads of one unit of which a team is told one by one. It is told of more of them in one notice."""
_REMEDY: Final = "Hand the lead over, or contact the person and record the touch."
_REMEDY_OF_MANY: Final = (
    "The console shows them under Now: hand them over, or contact the persons and record the touches."
)

_log = structlog.get_logger(__name__)


class Unattended:
    """The pages of one unit whose recipient is not there.

    Attributes:
        passed_on: New pages: the same to another person.
        covered: The ids of cancelled pages of which another person, or a team, is told.
    """

    def __init__(self, unit: Unit, terms: Terms, now: datetime) -> None:
        self._unit = unit
        self._terms = terms
        self._now = now
        self._told: dict[str, dict[str, tuple[Page, ResponseClock, str]]] = {}  # by team and lead
        self.passed_on: list[Page] = []
        self.covered: set[str] = set()

    def page_after(self, page: Page, clock: ResponseClock, why: str) -> Page:
        """Return the page, cancelled, or to be sent to its recipient all the same. `why`: its recipient is not there."""
        if page.kind not in FALLS_BACK:
            return cancelled(page, why)
        for other in self._new(next_there(page, clock, self._terms, self._absences, self._now)):
            return self._passed_on(page, other, why)
        if self._can_tell(SALES):
            return self._team_told(SALES, page, clock, why)
        for other in self._new(nearest_away(page, clock, self._terms, self._absences, self._now), page.id):
            if other.id != page.id:
                return self._passed_on(page, other, why)
            _log.warning("page sent to a person who is away", lead=page.lead_id, kind=page.kind, person=page.person)
            return replace(page, error=storable(f"{ALTHOUGH}{why}: no other recipient is there"))
        return self._without_recipient(page, clock, why)

    def born_without_recipient(self, page: Page, clock: ResponseClock) -> Page:
        """Return a new page that has no recipient, after a team was told of it instead."""
        if page.person or page.kind not in FOR_ANY_MANAGER or page.error is None:
            return page
        if self._can_tell(SALES):
            return self._team_told(SALES, page, clock, page.error)
        return self._without_recipient(page, clock, page.error)

    def tell_teams(self) -> None:
        """Tell the teams, at the end of the unit."""
        for team, leads in self._told.items():
            if len(leads) <= SINGLE_MAX:
                for page, clock, why in leads.values():
                    subject = words(message_of(page, clock, self._terms, self._now, None)).subject
                    lines = (f"{why}. No other recipient is there.", _REMEDY)
                    tell(
                        self._unit,
                        team,
                        key=f"unattended {page.id}",
                        subject=subject,
                        lines=lines,
                        lead_id=page.lead_id,
                    )
            else:
                # Without names: the notice is about no single lead, so an erasure would not find them.
                key = f"unattended {' '.join(sorted(page.id for page, _, _ in leads.values()))}"
                reasons = tuple(dict.fromkeys(f"{why}." for _, _, why in leads.values()))[:SINGLE_MAX]
                subject = f"{len(leads)} leads need a manager, and none is there"
                tell(self._unit, team, key=key, subject=subject, lines=(*reasons, _REMEDY_OF_MANY))

    @cached_property
    def _absences(self) -> Absences:
        return find_absences(self._unit)

    def _new(self, pages: Iterable[Page], but: str = "") -> Iterator[Page]:
        """Yield the pages that are not stored yet, and the page `but`: a person whose page was passed on before has one."""
        for page in pages:
            if page.id == but or not lookup_new(self._unit, [page])[0]:
                yield page

    def _can_tell(self, team: str) -> bool:
        return contact_of(self._unit.config.agreement.tell, team) is not None

    def _passed_on(self, page: Page, other: Page, why: str) -> Page:
        self.passed_on.append(replace(other, next_at=self._unit.clock.real()))
        self.covered.add(page.id)
        return cancelled(page, f"{why}: {other.person} is told instead")

    def _team_told(self, team: str, page: Page, clock: ResponseClock, why: str) -> Page:
        self._told.setdefault(team, {})[page.lead_id] = page, clock, why
        self.covered.add(page.id)
        return cancelled(page, f"{why}: {team} is told instead")

    def _without_recipient(self, page: Page, clock: ResponseClock, why: str) -> Page:
        """Return the page of which no person can be told. The operator is the last who may help."""
        _log.warning("page without a recipient", lead=page.lead_id, kind=page.kind)
        if self._can_tell(OPERATOR):
            return self._team_told(OPERATOR, page, clock, why)
        return cancelled(page, why)
