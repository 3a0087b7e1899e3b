"""The story of the demo, read from the log: every lead that was handed over, its owner, its clock and its outcome."""

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
"""Shows a line: its time, style and text."""


@dataclass
class ObservedLead:
    """A lead that was handed over to Sales, as the log describes it."""

    id: str
    title: str
    submit_at: datetime
    status: str = "qualified"
    epoch: int = 0
    owner: str | None = None
    touched_at: datetime | None = None
    touched_by: str | None = None
    reassigned: bool = False
    won: bool | None = None  # whether it became an opportunity. None: not decided yet
    waits: str = ""  # the reason why it has no owner

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
    """The figures of the first hour.

    Each of `leads` is touched within its hour, missed (touched later or never), or waiting, while its hour is not over.
    `returned`: leads that went back to Marketing before the first call; they are not among `leads`. `outcomes`: of the leads
    touched within the hour, and of those touched later, the number of decided and of qualified ones.
    """

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
    """The leads of the demo. `names`: of the reps, by id."""

    names: dict[str, str]
    tell: Tell
    leads: dict[str, ObservedLead] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        """Apply a record, and show it."""
        if isinstance(event, LeadQualified):
            title = (event.title or event.lead_id[-6:]).partition(", ")[0]  # the person; a line has 40 characters
            if event.lead_id not in self.leads:
                self.leads[event.lead_id] = ObservedLead(event.lead_id, title, event.submit_at)
        elif isinstance(event, LeadEvent):
            self._routed(event)
        elif isinstance(event, PageSent):
            self._paged(event)
        elif isinstance(event, PromiseMissed) and event.lead_id in self.leads:
            self.tell(event.at, "bold red", f"{self._title(event.lead_id)} was not contacted within the hour")

    def _routed(self, event: LeadEvent) -> None:
        lead = self.leads.get(event.lead_id)
        if lead is None:
            return
        lead.status, lead.epoch = event.status, event.epoch
        if isinstance(event, LeadAssigned):
            again = "  (taken over)" if event.reassignments else ""
            lead.owner, lead.waits = event.rep, ""
            self.tell(event.at, "green", f"{lead.title} goes to {self.name(event.rep)}{again}")
        elif isinstance(event, LeadQueued):
            lead.owner, lead.waits = None, event.reason
            self.tell(event.at, "yellow", f"{lead.title} waits: {event.reason}")
        elif isinstance(event, LeadReleased):
            lead.owner = None
            lead.reassigned |= event.kind == "reassign"
            act = "did not answer, and loses" if event.kind == "reassign" else f"declines ({event.reason})"
            self.tell(event.at, "magenta", f"{self.name(event.rep)} {act} {lead.title}")
        elif isinstance(event, LeadAccepted):
            self.tell(event.at, "cyan", f"{self.name(event.rep)} accepts {lead.title}")
        elif isinstance(event, TouchApplied):
            self._touched(lead, event)
        elif isinstance(event, LeadRecycled):
            lead.owner = None
            if event.kind == "reject":
                self.tell(
                    event.at,
                    "magenta",
                    f"{self.name(event.rep)} rejects ({event.reason}) {lead.title}: back to Marketing",
                )
        elif isinstance(event, LeadStatusChanged) and event.status == "opportunity":
            self.tell(event.at, "bold green", f"{lead.title} is a real opportunity")

    def _touched(self, lead: ObservedLead, event: TouchApplied) -> None:
        if lead.touched_at is not None:
            return
        lead.touched_at, lead.touched_by = event.touched_at, event.rep or lead.owner
        minutes = (lead.waited or timedelta(0)) / timedelta(minutes=1)
        self.tell(event.at, "bold cyan", f"{self.name(lead.touched_by)} called {lead.title} after {minutes:.0f} min")

    def _paged(self, event: PageSent) -> None:
        if event.rung == 0 or event.lead_id not in self.leads:
            return
        lead = self.leads[event.lead_id]
        if event.person == lead.owner:
            self.tell(event.at, "yellow", f"{self.name(event.person)} is reminded of {lead.title}")
        else:
            owner = self.name(lead.owner)
            self.tell(event.at, "red", f"{self.name(event.person)} is told that {owner} has not called {lead.title}")

    def name(self, rep: str | None) -> str:
        """Return the first name of a rep."""
        return self.names.get(rep or "", rep or "nobody").split()[0]

    def _title(self, lead: str) -> str:
        return self.leads[lead].title

    # --- as of now ----------------------------------------------------------------------------------------------------

    def open_load(self, rep: str) -> int:
        """Return the number of open leads of `rep`."""
        return sum(1 for lead in self.leads.values() if lead.owner == rep and lead.status in HELD)

    def minutes_of(self, rep: str) -> list[float]:
        """Return the minutes from submit to first touch, of the leads that this rep called first."""
        waits = [lead.waited for lead in self.leads.values() if lead.touched_by == rep]
        return [waited / timedelta(minutes=1) for waited in waits if waited is not None]

    def running(self, now: datetime) -> list[ObservedLead]:
        """Return the leads that still wait for a first touch, the one with the least time left first."""
        untouched = [
            lead for lead in self.leads.values() if lead.touched_at is None and lead.status in (*HELD, "qualified")
        ]
        return sorted((lead for lead in untouched if lead.submit_at + HOUR > now), key=lambda lead: lead.submit_at)

    def tally(self, now: datetime) -> Tally:
        """Return the figures of the first hour as of `now`."""
        leads = [lead for lead in self.leads.values() if not lead.returned]
        minutes = [lead.waited / timedelta(minutes=1) for lead in leads if lead.waited is not None]
        over = [lead for lead in leads if not lead.in_time and (lead.touched_at or lead.submit_at + HOUR <= now)]
        touched = sum(lead.in_time for lead in leads)
        return Tally(
            len(leads),
            len(self.leads) - len(leads),
            touched,
            len(over),
            len(leads) - touched - len(over),
            statistics.median(minutes) if minutes else None,
            sum(lead.reassigned for lead in leads),
            {
                "within the hour": _decided(lead for lead in leads if lead.in_time),
                "later": _decided(lead for lead in leads if lead.waited is not None and not lead.in_time),
            },
        )


def _decided(leads: Iterable[ObservedLead]) -> tuple[int, int]:
    outcomes = [lead.won for lead in leads if lead.won is not None]
    return len(outcomes), sum(outcomes)
