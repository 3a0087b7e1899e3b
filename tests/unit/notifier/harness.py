"""The notifier for tests: a real database file, a clock that tests move, and channels that store messages."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.clock import new_id
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Lane, StorageError, Unit
from schemas.agreement.agreement import Agreement
from schemas.envelope import decode, encode, event_of
from schemas.events.base import Event
from schemas.events.routes import (
    LeadEvent,
)
from schemas.sources import Sources
from schemas.team import Team
from services.notifier.channels.base import Outcome, Sent
from services.notifier.context import NotifierContext
from services.notifier.delivery import Delivery
from services.notifier.domain.message import Message
from services.notifier.handlers import fire_due, hear_routes
from services.notifier.ways import Ways
from tests.empty_tables import create_tables
from tests.hand_clock import HandClock
from tests.unit.notifier.router_records import NINE, RouterRecords

T = TypeVar("T")
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
    """Return the configuration with another ladder."""
    agreement = CONFIG.agreement.model_dump(by_alias=True)
    agreement["response"]["ladder"] = rungs
    return dataclasses.replace(CONFIG, agreement=Agreement.model_validate(agreement), version="v2")


def with_urgencies(*names: str, **response: Any) -> Config:
    """Return the configuration with these urgencies, the most urgent first, and these fields of the response."""
    agreement = CONFIG.agreement.model_dump(by_alias=True)
    agreement["response"] |= {name: {"touch_within": "1h"} for name in names} | response
    return dataclasses.replace(CONFIG, agreement=Agreement.model_validate(agreement), version="v4")


def without_slack(rep: str) -> Config:
    """Return the configuration in which this rep has no Slack id."""
    team = CONFIG.team.model_dump(by_alias=True)
    team["reps"] = [{**one, "slack": None} if one["id"] == rep else one for one in team["reps"]]
    return dataclasses.replace(CONFIG, team=Team.model_validate(team), version="v3")


@dataclass
class FakeChannel:
    """Stores the messages. `answers`: the next outcomes, in order. Without an answer it returns `always`, else it accepts."""

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
    """Runs units at once, in place. `failing`: the number of next units whose commit fails."""

    def __init__(self, file: Path, clock: HandClock) -> None:
        create_tables(file)
        self._engine = writer_engine(file)
        self._writer = self._engine.connect()  # kept, as in a process: opening the file takes longer than a unit
        self._reader = self._engine.connect()
        self._clock = clock
        self.config = CONFIG
        self.failing = 0
        self.events: list[Event] = []
        self.woken: set[str] = set()

    def now(self, work: Callable[[Unit], T]) -> T:
        unit = Unit(self._writer, self._clock, self.config)
        with self._writer.begin():
            result = work(unit)
            if self.failing > 0:
                self.failing -= 1
                raise StorageError("disk full")
            unit.finish()
        self.events.extend(event_of(decode(row.body)) for row in unit.rows)
        self.woken |= unit.woken
        for callback in unit.after:
            callback()
        return result

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        return self.now(work)

    async def read(self, work: Callable[[Connection], T], /) -> T:
        with self._reader.begin():
            return work(self._reader)

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """Yield the list of statements that are executed in the block."""
        executed: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if not statement.startswith("BEGIN"):
                executed.append(statement)

        sa.event.listen(self._engine, "before_cursor_execute", note)
        yield executed
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
        self._writer.close()
        self._reader.close()
        self._engine.dispose()


class NotifierHarness(RouterRecords):
    """One notifier on one database file. `restart` drops everything that is only in memory."""

    def __init__(self, file: Path, channels: Sequence[FakeChannel] | None = None) -> None:
        super().__init__(HandClock(NINE))
        self.slack, self.email, self.inbox = FakeChannel("slack"), FakeChannel("email"), FakeChannel("inbox")
        self.channels = {c.name: c for c in (channels or [self.slack, self.email, self.inbox])}
        self.units = FailingUnits(file, self.clock)
        self.files = SimpleNamespace(current=CONFIG)
        self.jitter: Callable[[], float] = random.Random().random
        self.restart()

    def restart(self) -> None:
        self.context = NotifierContext(tuple(self.channels))
        self.telemetry = Telemetry()
        resources = Resources(
            settings=cast(Any, None),
            clock=self.clock,
            config=cast(Any, self.files),
            units=self.units,
            reads=self.units.read,
            log=cast(Any, None),
            telemetry=self.telemetry,
            wake=lambda name: None,
        )
        self.delivery = Delivery(
            resources,
            Ways(self.channels, resources.settings, self.clock.real),
            self.context,
            jitter=lambda: self.jitter(),
        )

    # --- records of the router ---

    def hear(self, *events: Event) -> None:
        """Handle these records as one batch."""
        batch = []
        for event in events:
            key = event.lead_id if isinstance(event, LeadEvent) else "rep"
            body = encode(event, id=new_id(), source="urn:firsthour:router", time=self.clock.now, key=key)
            batch.append(Record(1, key, new_id(), body))
        self.units.now(lambda unit: hear_routes(batch, unit, self.context))

    # --- time, rows and events ---

    def tick(self) -> datetime | None:
        return self.units.now(partial(fire_due, context=self.context))

    async def settle(self) -> None:
        """Fire and send everything that is due now."""
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

    async def pass_seconds(self, seconds: int) -> None:
        """Let time pass second by second, settling after each."""
        for _ in range(seconds):
            self.clock.advance(seconds=1)
            await self.settle()

    def stop_delivery(self) -> None:
        """Let units claim no page until the next `restart`."""
        self.context.bulkhead.closed = True

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.units.now(lambda unit: [dict(row._mapping) for row in unit.connection.exec_driver_sql(sql).all()])

    def execute(self, sql: str) -> None:
        self.units.now(lambda unit: unit.connection.exec_driver_sql(sql))

    def page(self, rung: int, epoch: int = 1, lead: str = "l1") -> dict[str, Any]:
        sql = f"SELECT * FROM notifier_pages WHERE lead_id = '{lead}' AND epoch = {epoch} AND rung = {rung}"
        (row,) = self.rows(sql)
        return row

    def events(self, kind: type[T]) -> list[T]:
        return [event for event in self.units.events if isinstance(event, kind)]
