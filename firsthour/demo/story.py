"""What the demo knows from the log: every lead that was handed over, its owner, its clock, and how its hour went."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from firsthour.demo.people import HOUR
from schemas.events.base import Event
from schemas.events.pages import PageSent, PromiseMissed
from schemas.events.routes import (
    LeadAccepted,
    LeadAssigned,
    LeadEvent,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    TouchApplied,
)

HELD = ("assigned", "accepted", "working")
Tell = Callable[[datetime, str, str], None]
"""Time, style and words of something that happened."""


@dataclass
class ObservedLead:
    """A lead that was handed over to Sales, as the log tells it."""

    id: str
    title: str
    submit_at: datetime
    status: str = "qualified"
    epoch: int = 0
    owner: str | None = None
    touched_at: datetime | None = None
    touched_by: str | None = None
    reassigned: bool = False
    won: bool | None = None  # what came of it; None: not known yet
    waits: str = ""  # for which reason it has no owner

    @property
    def waited(self) -> timedelta | None:
        return None if self.touched_at is None else max(timedelta(0), self.touched_at - self.submit_at)

    @property
    def returned(self) -> bool:
        return self.touched_at is None and self.status == "nurturing"

    @property
    def in_time(self) -> bool:
        waited = self.waited
        return waited is not None and waited <= HOUR


@dataclass(frozen=True)
class Tally:
    """The table of the first hour. Every lead to call is touched within it, missed (later or never), or waiting, its
    hour not over. `returned`: handed over as well, and back with Marketing before anybody called. `outcomes`: of those
    touched within the hour and later, (how many are decided, how many qualified)."""

    leads: int
    returned: int
    touched: int
    missed: int
    waiting: int
    median_minutes: float | None
    reassigned: int
    outcomes: dict[str, tuple[int, int]]


@dataclass
class DemoStory:
    """Grows by `hear`. `names` of reps by id."""

    names: dict[str, str]
    tell: Tell
    leads: dict[str, ObservedLead] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        """Take in one record, and show it."""
        if isinstance(event, LeadQualified):
            title = (event.title or event.lead_id[-6:]).partition(", ")[0]  # the person; a line has 40 characters
            seen = self.leads.get(event.lead_id)
            if seen is None:
                self.leads[event.lead_id] = ObservedLead(event.lead_id, title, event.submit_at)
        elif isinstance(event, LeadEvent):
            self._routed(event)
        elif isinstance(event, PageSent):
            self._paged(event)
        elif isinstance(event, PromiseMissed) and event.lead_id in self.leads:
            self.tell(event.at, "bold red", f"nobody was in touch with {self._title(event.lead_id)} within the hour")

    def _routed(self, event: LeadEvent) -> None:
        seen = self.leads.get(event.lead_id)
        if seen is None:
            return
        seen.status, seen.epoch = event.status, event.epoch
        if isinstance(event, LeadAssigned):
            again = "  (taken over)" if event.reassignments else ""
            seen.owner, seen.waits = event.rep, ""
            self.tell(event.at, "green", f"{seen.title} goes to {self.name(event.rep)}{again}")
        elif isinstance(event, LeadQueued):
            seen.owner, seen.waits = None, event.reason
            self.tell(event.at, "yellow", f"{seen.title} waits: {event.reason}")
        elif isinstance(event, LeadReleased):
            seen.owner = None
            seen.reassigned |= event.kind == "reassign"
            said = "did not answer, and loses" if event.kind == "reassign" else f"says {event.reason}, and passes on"
            self.tell(event.at, "magenta", f"{self.name(event.rep)} {said} {seen.title}")
        elif isinstance(event, LeadAccepted):
            self.tell(event.at, "cyan", f"{self.name(event.rep)} accepts {seen.title}")
        elif isinstance(event, TouchApplied):
            self._touched(seen, event)
        elif isinstance(event, LeadRecycled):
            seen.owner = None
            if event.kind == "reject":
                self.tell(
                    event.at, "magenta", f"{self.name(event.rep)} says {event.reason}: {seen.title} back to Marketing"
                )
        elif isinstance(event, LeadStatusChanged) and event.status == "opportunity":
            self.tell(event.at, "bold green", f"{seen.title} is a real opportunity")

    def _touched(self, seen: ObservedLead, event: TouchApplied) -> None:
        if seen.touched_at is not None:
            return
        seen.touched_at, seen.touched_by = event.touched_at, event.rep or seen.owner
        minutes = (seen.waited or timedelta(0)) / timedelta(minutes=1)
        self.tell(event.at, "bold cyan", f"{self.name(seen.touched_by)} called {seen.title} after {minutes:.0f} min")

    def _paged(self, event: PageSent) -> None:
        if event.rung == 0 or event.lead_id not in self.leads:
            return
        seen = self.leads[event.lead_id]
        if event.person == seen.owner:
            self.tell(event.at, "yellow", f"{self.name(event.person)} is reminded of {seen.title}")
        else:
            owner = self.name(seen.owner)
            self.tell(event.at, "red", f"{self.name(event.person)} hears that {owner} has not called {seen.title}")

    def name(self, rep: str | None) -> str:
        """What people call them."""
        return self.names.get(rep or "", rep or "nobody").split()[0]

    def _title(self, lead: str) -> str:
        return self.leads[lead].title

    # --- as of now ----------------------------------------------------------------------------------------------------

    def open_load(self, rep: str) -> int:
        """How many leads `rep` has."""
        return sum(1 for seen in self.leads.values() if seen.owner == rep and seen.status in HELD)

    def minutes_of(self, rep: str) -> list[float]:
        """Minutes from submit to first touch, of those this rep was the first to call."""
        waits = [seen.waited for seen in self.leads.values() if seen.touched_by == rep]
        return [waited / timedelta(minutes=1) for waited in waits if waited is not None]

    def running(self, now: datetime) -> list[ObservedLead]:
        """Return the leads that still wait for a first touch, the one with the least time left first."""
        untouched = [
            seen for seen in self.leads.values() if seen.touched_at is None and seen.status in (*HELD, "qualified")
        ]
        return sorted((seen for seen in untouched if seen.submit_at + HOUR > now), key=lambda seen: seen.submit_at)

    def tally(self, now: datetime) -> Tally:
        """The table of the first hour, as of `now`."""
        leads = [seen for seen in self.leads.values() if not seen.returned]
        minutes = [seen.waited / timedelta(minutes=1) for seen in leads if seen.waited is not None]
        over = [seen for seen in leads if not seen.in_time and (seen.touched_at or seen.submit_at + HOUR <= now)]
        touched = sum(seen.in_time for seen in leads)
        return Tally(
            len(leads),
            len(self.leads) - len(leads),
            touched,
            len(over),
            len(leads) - touched - len(over),
            statistics.median(minutes) if minutes else None,
            sum(seen.reassigned for seen in leads),
            {
                "within the hour": _decided(seen for seen in leads if seen.in_time),
                "later": _decided(seen for seen in leads if seen.waited is not None and not seen.in_time),
            },
        )


def _decided(leads: Iterable[ObservedLead]) -> tuple[int, int]:
    known = [seen.won for seen in leads if seen.won is not None]
    return len(known), sum(known)
