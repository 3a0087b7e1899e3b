"""The router for tests: a database file, a clock that is moved by hand, and the emitted events."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from firsthour.kernel.config import Config
from firsthour.runtime.clock import new_id
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Unit
from schemas.agreement.agreement import Agreement
from schemas.envelope import decode, encode, event_of
from schemas.events.actions import ActionRequested
from schemas.events.base import Event, Facts
from schemas.events.leads import ConsentChanged, LeadScored, LeadTouched, MatchedLine, OpportunityMoved, Score, Trigger
from schemas.events.routes import LeadEvent
from schemas.sources import Sources
from schemas.team import Team
from services.router import commands
from services.router.handlers import hear_actions, hear_leads
from services.router.store.decisions import decisions_of
from services.router.store.leads import find_lead
from services.router.store.team import presences
from services.router.ticks import ServeQueue, WatchTeam
from tests.empty_tables import create_tables
from tests.hand_clock import HandClock

E = TypeVar("E", bound=Event)
T = TypeVar("T")

HAND_RAISER = MatchedLine("hand-raiser", "hot", by_event=True)
BY_SCORE = MatchedLine("score", "warm", by_event=False)
MANAGER = Principal("k1", "sam", "manager")
MARKETER = Principal("k2", "dana", "marketing")

AGREEMENT: dict[str, Any] = {
    "version": 1,
    "scoring": {},
    "qualify": [{"name": "all", "urgency": "hot", "on": "form.submitted"}],
    "rearm_below": 40,
    "routing": {"rules": [{"name": "everyone", "pool": "all"}]},
    "response": {"hot": {"touch_within": "1h"}, "warm": {"touch_within": "4h"}, "reassign_at_most": 1},
}


def rep(id: str, **more: Any) -> dict[str, Any]:
    """Return a rep as in the team file."""
    return {"id": id, "name": id.title(), "email": f"{id}@s.example", "manager": "max", **more}


def team(*reps: dict[str, Any], pools: Mapping[str, Mapping[str, int]], **more: Any) -> dict[str, Any]:
    """Return a team file. max is the manager of every rep. A pool maps a rep to a weight."""
    top = {"id": "max", "name": "Max", "email": "max@s.example"}
    rows = [
        {"id": pool, "members": [{"rep": rep, "weight": weight} for rep, weight in members.items()]}
        for pool, members in pools.items()
    ]
    return {"reps": [*reps, top], "pools": rows, **more}


TEAM = team(rep("ana"), rep("bo"), rep("cy"), pools={"all": {"ana": 1, "bo": 1, "cy": 1}})
SMALL = team(rep("ana", capacity={"open": 1}), rep("bo", capacity={"open": 1}), pools={"all": {"ana": 1, "bo": 1}})


def sales(id: str) -> Principal:
    """Return a key that acts as this rep."""
    return Principal(f"key-{id}", id, "sales", id)


@dataclass
class RouterHarness:
    """A router with its database, its configuration and its clock."""

    file: Path
    clock: HandClock = field(default_factory=HandClock)
    events: list[Event] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    queue_tick: ServeQueue = field(default_factory=ServeQueue)
    team_tick: WatchTeam = field(default_factory=WatchTeam)

    def __post_init__(self) -> None:
        create_tables(self.file)
        self.engine = writer_engine(self.file)
        self._writer = self.engine.connect()  # kept, as in a process: opening the file takes longer than a unit
        self.config_count = 0
        self.configure()

    def close(self) -> None:
        self._writer.close()
        self.engine.dispose()

    def configure(
        self, team: Mapping[str, Any] = TEAM, sources: Sequence[Mapping[str, Any]] = (), **agreement: Any
    ) -> None:
        """Put an agreement, a team and sources in force."""
        self.config_count += 1
        self.config = Config(
            Agreement.model_validate({**AGREEMENT, **agreement}),
            Team.model_validate(team),
            Sources.model_validate({"sources": [*sources]}),
            f"{self.file}:{self.config_count}",
        )

    def run_unit(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in a unit, and add the emitted events to `events`."""
        with self._writer.begin():
            unit = Unit(self._writer, self.clock, self.config)
            result = work(unit)
            unit.finish()
        self.woken = unit.woken
        self.events += [event_of(decode(row.body)) for row in unit.rows]
        return result

    def hear(self, *events: Event) -> None:
        """Handle these events in one batch."""
        records = [
            Record(n, "", id, encode(event, id=id, source="urn:t", time=self.clock.now, key=""))
            for n, event in enumerate(events, 1)
            for id in [new_id()]
        ]
        handler = hear_actions if isinstance(events[0], ActionRequested) else hear_leads
        self.run_unit(lambda unit: handler(records, unit))

    def score_event(
        self,
        lead: str,
        *met: MatchedLine,
        total: float = 50.0,
        facts: Facts | None = None,
        at: datetime | None = None,
        suppressed: str | None = None,
        source: str = "website",
    ) -> LeadScored:
        """Return the next score record of a lead."""
        self.versions[lead] = self.versions.get(lead, 0) + 1
        return LeadScored(
            lead_id=lead,
            version=self.versions[lead],
            at=self.clock.now,
            trigger=Trigger(new_id(), "form.submitted", at or self.clock.now, source, {"form": "demo-request"}),
            score=Score(50.0, 50.0, total, "B"),
            email=f"{lead}@p.example",
            facts={"name": f"Name {lead}", "email": f"{lead}@p.example", **(facts or {})},
            met=met,
            suppressed=suppressed,
        )

    def submit_form(self, *leads: str, facts: Facts | None = None, source: str = "website") -> None:
        """Handle a demo request of each lead, in one batch."""
        self.hear(*(self.score_event(lead, HAND_RAISER, facts=facts, source=source) for lead in leads))

    def record_touch(
        self, lead: str, *, answered: bool = False, at: datetime | None = None, by: str | None = None
    ) -> None:
        self.hear(LeadTouched(lead_id=lead, at=at or self.clock.now, channel="phone", answered=answered, by=by))

    def set_consent(self, lead: str, given: bool, at: datetime | None = None) -> None:
        at = at or self.clock.now
        self.hear(ConsentChanged(lead_id=lead, at=at, given=given, reason="asked", event_id=new_id()))

    def move_deal(self, lead: str, stage: str, at: datetime | None = None) -> None:
        self.hear(OpportunityMoved(lead_id=lead, at=at or self.clock.now, stage=stage, event_id=new_id()))

    def request_action(self, action: Any, lead: str, epoch: int, by: str, **more: Any) -> None:
        """Handle the request of a button or a rung."""
        self.hear(
            ActionRequested(
                action_id=new_id(), action=action, lead_id=lead, epoch=epoch, at=self.clock.now, by=by, **more
            )
        )

    def run_command(self, command: Callable[..., commands.Answer], *args: Any) -> commands.Answer:
        """Run one of `commands` in its own unit."""
        return self.run_unit(lambda unit: command(unit, *args))

    def serve_queue(self) -> datetime | None:
        """Run the tick of the queue."""
        return self.run_unit(self.queue_tick)

    def watch_team(self) -> datetime | None:
        """Run the tick of the team."""
        return self.run_unit(self.team_tick)

    def wait(self, **by: float) -> None:
        self.clock.now += timedelta(**by)

    # --- the state ---

    def lead(self, id: str) -> Any:
        with self._writer.begin():
            lead = find_lead(self._writer, id)
        assert lead is not None
        return lead

    def owners(self, *leads: str) -> list[str | None]:
        return [self.lead(lead).owner for lead in leads]

    def open_leads(self, rep: str) -> int:
        with self._writer.begin():
            return presences(self._writer)[rep].open

    def rows(self, sql: str) -> Sequence[Any]:
        with self._writer.begin():
            return self._writer.execute(sa.text(sql)).all()

    def events_of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def decisions(self, lead: str) -> list[dict[str, Any]]:
        with self._writer.begin():
            return [decision for _, decision in reversed(decisions_of(self._writer, lead, None, 100))]

    def check_invariants(self) -> None:
        """Assert that each lead has one open assignment at most, epochs have no gaps, loads add up, and transitions are allowed."""
        rows = self.rows("SELECT lead_id, epoch, closed_at, opened_at FROM router_assignments ORDER BY lead_id, epoch")
        by_lead: dict[str, list[Any]] = {}
        for row in rows:
            by_lead.setdefault(row.lead_id, []).append(row)
        for assignments in by_lead.values():
            assert [row.epoch for row in assignments] == list(range(1, len(assignments) + 1))
            assert all(row.closed_at is not None for row in assignments[:-1])
            assert all(a.closed_at <= b.opened_at for a, b in pairwise(assignments))
        counts = dict(
            self.rows(
                "SELECT owner, count(*) FROM router_leads WHERE status IN ('assigned', 'accepted', 'working') GROUP BY owner"
            )
        )
        loads = dict(self.rows("SELECT rep, open FROM router_reps"))
        assert {rep: n for rep, n in loads.items() if n} == counts
        owners = self.rows("SELECT lead_id, owner FROM router_leads WHERE owner IS NOT NULL ORDER BY lead_id")
        open_assignments = self.rows(
            "SELECT lead_id, rep FROM router_assignments WHERE closed_at IS NULL ORDER BY lead_id"
        )
        assert list(owners) == list(open_assignments)
        transitions = self.config.agreement.lifecycle.transitions
        version: dict[str, int] = {}
        for event in self.events:
            if isinstance(event, LeadEvent):
                assert event.version == version.get(event.lead_id, 0) + 1
                version[event.lead_id] = event.version
                unchanged = event.status == event.was
                assert unchanged or any(
                    transition.leaves(event.was) and transition.to == event.status for transition in transitions
                )
