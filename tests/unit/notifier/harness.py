"""The notifier for tests: a real database file, a clock moved by hand, channels with a memory and a dial."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import msgspec
import sqlalchemy as sa

from firsthour.kernel.config import Config
from firsthour.runtime.clock import new_id
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Lane, StorageError, Unit
from schemas.agreement.agreement import Agreement
from schemas.envelope import decode, encode, event_of
from schemas.events.base import Event
from schemas.events.leads import Score, Trigger
from schemas.events.routes import (
    LeadAccepted,
    LeadAssigned,
    LeadCard,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    RepAvailabilityChanged,
    TouchApplied,
)
from schemas.sources import Sources
from schemas.team import Team
from services.notifier.channels.base import Outcome, Sent
from services.notifier.context import NotifierContext
from services.notifier.delivery import Delivery
from services.notifier.domain.message import Message
from services.notifier.handlers import fire_due, hear_routes
from tests.hand_clock import HandClock

T = TypeVar("T")
NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
CONFIG = Config(
    Agreement.model_validate(
        {
            "version": 1,
            "scoring": {},
            "qualify": [{"name": "all", "urgency": "hot", "on": "form.submitted"}],
            "routing": {"rules": [{"name": "all", "pool": "all"}]},
            "response": {
                "hot": {"touch_within": "1h"},
                "ladder": [
                    {"at": "0m", "page": "owner", "by": ["slack", "email"]},
                    {"at": "10m", "page": "owner", "by": ["slack"]},
                    {"at": "20m", "page": "manager", "by": ["slack", "email"]},
                    {"at": "30m", "reassign": True},
                ],
            },
        }
    ),
    Team.model_validate(
        {
            "reps": [
                {"id": "ana", "name": "Ana", "email": "ana@s.example", "slack": "U0ANA", "manager": "max"},
                {"id": "bo", "name": "Bo", "email": "bo@s.example", "slack": "U0BO", "manager": "max"},
                {"id": "max", "name": "Max", "email": "max@s.example", "slack": "U0MAX"},
                {"id": "gone", "name": "Gone", "email": "gone@s.example", "slack": "U0GONE", "active": False},
            ],
            "pools": [{"id": "all", "members": [{"rep": "ana"}, {"rep": "bo"}]}],
        }
    ),
    cast(Sources, None),
    "v1",
)


def with_ladder(*rungs: dict[str, Any]) -> Config:
    """The configuration with another ladder."""
    agreement = CONFIG.agreement.model_dump(by_alias=True)
    agreement["response"]["ladder"] = rungs
    return dataclasses.replace(CONFIG, agreement=Agreement.model_validate(agreement), version="v2")


def without_slack(rep: str) -> Config:
    """The configuration with a rep who has no Slack id."""
    team = CONFIG.team.model_dump(by_alias=True)
    team["reps"] = [{**one, "slack": None} if one["id"] == rep else one for one in team["reps"]]
    return dataclasses.replace(CONFIG, team=Team.model_validate(team), version="v3")


@dataclass
class FakeChannel:
    """Remembers what it was given. `answers`: what it says next, in turn; without any it accepts."""

    name: str
    messages: list[Message] = field(default_factory=list)
    answers: list[Outcome | Exception] = field(default_factory=list)
    always: Outcome | None = None

    async def send(self, message: Message) -> Outcome:
        self.messages.append(message)
        answer = self.answers.pop(0) if self.answers else self.always or Sent(f"{self.name}-{len(self.messages)}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        pass

    @property
    def recipients(self) -> list[str]:
        return [message.person_name for message in self.messages]


class FailingUnits:
    """Runs units at once, in place. `failing`: how many of the next cannot commit."""

    def __init__(self, file: Path, clock: HandClock) -> None:
        self._engine = writer_engine(file)
        statements.metadata.create_all(self._engine)
        self._clock = clock
        self.config = CONFIG
        self.failing = 0
        self.events: list[Event] = []
        self.woken: set[str] = set()

    def now(self, work: Callable[[Unit], T]) -> T:
        with self._engine.connect() as connection:
            unit = Unit(connection, self._clock, self.config)
            with connection.begin():
                result = work(unit)
                if self.failing > 0:
                    self.failing -= 1
                    raise StorageError("disk full")
                unit.finish()
        self.events.extend(event_of(decode(row.body)) for row in unit.rows)
        self.woken |= unit.woken
        for then in unit.after:
            then()
        return result

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        return self.now(work)

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The statements sent meanwhile."""
        sent: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if not statement.startswith("BEGIN"):
                sent.append(statement)

        sa.event.listen(self._engine, "before_cursor_execute", note)
        yield sent
        sa.event.remove(self._engine, "before_cursor_execute", note)

    async def append(self, rows: list[Row]) -> None:
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        return True

    @property
    def batch_seconds(self) -> float:
        return 0.02

    def close(self) -> None:
        self._engine.dispose()


class RouterRecords:
    """What the router says of leads, each record a version newer than the one before."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self._versions: dict[str, int] = {}

    def _routed(self, lead: str, status: str, epoch: int, was: str = "qualified") -> dict[str, Any]:
        version = self._versions[lead] = self._versions.get(lead, 0) + 1
        return {
            "lead_id": lead,
            "version": version,
            "at": self.clock.now,
            "status": status,
            "was": was,
            "epoch": epoch,
            "by": "system",
        }

    def qualified(self, lead: str = "l1", submit_at: datetime = NINE, epoch: int = 0) -> LeadQualified:
        return LeadQualified(
            **self._routed(lead, "qualified", epoch, "new"),
            line="all",
            urgency="hot",
            submit_at=submit_at,
            score=Score(50.0, 50.0, 50.0, "B"),
            trigger=Trigger("e1", "form.submitted", submit_at, "web"),
        )

    def queued(self, lead: str = "l1", submit_at: datetime = NINE, epoch: int = 0) -> LeadQueued:
        routed = self._routed(lead, "qualified", epoch)
        return LeadQueued(**routed, pool="all", reason="nobody is free", urgency="hot", submit_at=submit_at)

    def assigned(
        self,
        lead: str = "l1",
        rep: str = "ana",
        epoch: int = 1,
        submit_at: datetime = NINE,
        reassignments: int = 0,
        touched_at: datetime | None = None,
        rep_version: int = 0,
    ) -> LeadAssigned:
        return LeadAssigned(
            **self._routed(lead, "assigned", epoch),
            rep=rep,
            decision_id="d1",
            urgency="hot",
            submit_at=submit_at,
            assigned_at=self.clock.now,
            reassignments=reassignments,
            touched_at=touched_at,
            rep_version=rep_version,
            card=LeadCard(name="Ada", email="ada@x.example"),
        )

    def accepted(self, lead: str = "l1", rep: str = "ana", epoch: int = 1) -> LeadAccepted:
        return LeadAccepted(**self._routed(lead, "accepted", epoch, "assigned"), rep=rep)

    def released(self, lead: str = "l1", rep: str = "ana", epoch: int = 1) -> LeadReleased:
        routed = self._routed(lead, "qualified", epoch, "assigned")
        return LeadReleased(**routed, rep=rep, kind="reassign", reason="no touch was recorded")

    def touched(self, lead: str = "l1", at: datetime | None = None, epoch: int = 1) -> TouchApplied:
        routed = self._routed(lead, "working", epoch, "assigned")
        touched_at = at or self.clock.now
        return TouchApplied(**routed, channel="phone", answered=False, touched_at=touched_at, rep="ana")

    def recycled(self, lead: str = "l1", epoch: int = 1) -> LeadRecycled:
        return LeadRecycled(**self._routed(lead, "nurturing", epoch, "assigned"), kind="reject", reason="not-now")

    def opted_out(self, lead: str = "l1", epoch: int = 1) -> LeadOptedOut:
        return LeadOptedOut(**self._routed(lead, "opted-out", epoch), reason="asked")

    def rep(self, rep: str, state: str, until: datetime | None = None, version: int = 0) -> RepAvailabilityChanged:
        said = {"rep": rep, "at": self.clock.now, "state": state, "until": until, "version": version}
        return msgspec.convert(said, RepAvailabilityChanged)


class NotifierHarness(RouterRecords):
    """One notifier on one database file. `restart` forgets whatever is not in it."""

    def __init__(self, file: Path, channels: Sequence[FakeChannel] | None = None) -> None:
        super().__init__(HandClock(NINE))
        self.slack, self.email, self.inbox = FakeChannel("slack"), FakeChannel("email"), FakeChannel("inbox")
        self.channels = {c.name: c for c in (channels or [self.slack, self.email, self.inbox])}
        self.units = FailingUnits(file, self.clock)
        self.jitter: Callable[[], float] = random.Random().random
        self.restart()

    def restart(self) -> None:
        self.context = NotifierContext(tuple(self.channels), "https://firsthour.example")
        self.telemetry = Telemetry()
        resources = Resources(
            settings=cast(Any, None),
            clock=self.clock,
            config=cast(Any, SimpleNamespace(current=CONFIG)),
            units=self.units,
            reads=cast(Any, None),
            log=cast(Any, None),
            telemetry=self.telemetry,
            wake=lambda name: None,
        )
        self.delivery = Delivery(resources, self.channels, self.context, jitter=lambda: self.jitter())

    # --- what the router says ---

    def hear(self, *events: Event) -> None:
        """Handle these records as one batch."""
        batch = []
        for event in events:
            key = event.lead_id if isinstance(event, LeadEvent) else "rep"
            body = encode(event, id=new_id(), source="urn:firsthour:router", time=self.clock.now, key=key)
            batch.append(Record(1, key, new_id(), body))
        self.units.now(lambda unit: hear_routes(batch, unit, self.context))

    # --- time, and what happened ---

    def tick(self) -> datetime | None:
        return self.units.now(partial(fire_due, context=self.context))

    async def settle(self) -> None:
        """Everything due at this moment."""
        while (due := self.tick()) is not None and due <= self.clock.now:
            pass
        while await self.delivery.step():
            pass

    async def wait(self, **by: float) -> None:
        """Let time pass in steps of at most a minute, settling after each."""
        end = self.clock.now + timedelta(**by)
        await self.settle()
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + timedelta(minutes=1))
            await self.settle()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.units.now(lambda unit: [dict(row._mapping) for row in unit.connection.exec_driver_sql(sql).all()])

    def execute(self, sql: str) -> None:
        self.units.now(lambda unit: unit.connection.exec_driver_sql(sql))

    def page(self, rung: int, epoch: int = 1, lead: str = "l1") -> dict[str, Any]:
        sql = f"SELECT * FROM notifier_pages WHERE lead_id = '{lead}' AND epoch = {epoch} AND rung = {rung}"
        (found,) = self.rows(sql)
        return found

    def events(self, shape: type[T]) -> list[T]:
        return [event for event in self.units.events if isinstance(event, shape)]
