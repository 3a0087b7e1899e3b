"""A whole system for stories, on either profile: HTTP in, a fake Slack and a fake mail server out, time moved by hand."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.bootstrap import embedded
from firsthour.bootstrap.distributed import Distributed
from firsthour.bootstrap.embedded import System
from firsthour.kernel.time_units import micros, moment
from firsthour.operations.verify import invariants
from firsthour.runtime import settings
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.storage.records import Row
from schemas import topics
from services.notifier.channels.base import Channel
from services.notifier.channels.email import EmailChannel, server
from services.notifier.channels.inbox import InboxChannel
from services.notifier.channels.slack import SlackChannel
from services.notifier.domain.message import Message
from tests.backends import Backends, Installation, execute
from tests.data_directory import open_directory
from tests.distributed_harness import DistributedHarness, open_harness
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_clicks import SIGNING_SECRET
from tests.fakes.smtp import FakeSmtp
from tests.hand_clock import HandClock
from tests.story import sample_config
from tests.story.sample_config import Changes

ADMIN = "story-" + "k" * 40
SLACK_TOKEN = "xoxb-story-token"
STEPS_MAX = 10_000
_NEXT_TIMES = (  # (query, whether its time is business time)
    ("SELECT min(due_at) FROM notifier_clocks WHERE due_at > :now", True),
    ("SELECT min(until) FROM router_reps WHERE until > :now", True),
    ("SELECT min(next_at) FROM notifier_pages WHERE next_at > :now", False),
    ("SELECT min(next_at) FROM notifier_dispatches WHERE next_at > :now", False),
    ("SELECT min(next_at) FROM gateway_fetches WHERE next_at > :now", False),
    ("SELECT min(next_at) FROM notifier_slack_messages WHERE next_at > :now", False),
)


@dataclass
class StoryInstallation:
    """One installation on either profile. Time stands still until a story moves it."""

    directory: Path
    clock: HandClock = field(default_factory=HandClock)
    slack: FakeSlack = field(init=False)
    smtp: FakeSmtp = field(default_factory=FakeSmtp)
    shown: list[Message] = field(default_factory=list)  # the messages that the inbox showed in the terminal
    backends: Backends | None = None  # Kafka and PostgreSQL; None: the embedded profile
    pages_max: int | None = None  # the largest database file of the embedded profile, in database pages; None: no limit
    channel_names: tuple[str, ...] = ("slack", "email", "inbox")
    _keys: dict[tuple[str, str | None], str] = field(default_factory=dict)
    _ids: "count[int]" = field(default_factory=lambda: count(1))
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _installation: Installation | None = None
    _process: DistributedHarness | None = None

    def __post_init__(self) -> None:
        self.slack = FakeSlack(seconds=self.clock.monotonic)

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def open(
        self, agreement: Changes | None = None, team: Changes | None = None, sources: Changes | None = None
    ) -> Self:
        """Start a new installation whose files are the sample files with these changes."""
        for name, changes in (("agreement", agreement), ("team", team), ("sources", sources)):
            sample_config.write(self.config, name, changes)
        if self.backends is not None:
            self._installation = await self._stack.enter_async_context(self.backends.installation())
        await self.slack.start()
        await self.smtp.start()
        await self._start()
        return self

    async def close(self) -> None:
        await self._stop()
        await self._stack.aclose()
        await self.slack.stop()
        await self.smtp.stop()
        for _ in range(5):  # closed connections end in the next turns of the loop
            await asyncio.sleep(0)

    async def restart(self) -> None:
        """End the process and start another one on the same directory."""
        await self._stop()
        await self._start()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _start(self) -> None:
        self._channels = self._open_channels()
        self.system: System | Distributed
        if self._installation is None:
            self.system = await self._embedded()
        else:
            process_settings = self._installation.settings(**self._settings)
            self._process = await open_harness(process_settings, self.clock, self._channels, files=self.config)
            self.system = self._process.system
        self.http = AsyncClient(transport=ASGITransport(app=self.system.app), base_url="http://firsthour.test")
        await self.system.settle()

    async def _embedded(self) -> System:
        lock = open_directory(self.data)
        process_settings = settings.load(**self._settings)
        files = ConfigFiles(self.config)
        return await embedded.open_system(
            process_settings, self.clock, files, self._channels, lock=lock, pages_max=self.pages_max
        )

    async def _stop(self) -> None:
        await self.http.aclose()
        await (self._process or self.system).close()
        for channel in self._channels.values():
            await channel.close()

    def _open_channels(self) -> dict[str, Channel]:
        factories: dict[str, Callable[[], Channel]] = {
            "slack": lambda: SlackChannel(SLACK_TOKEN, self.slack.url, clickable=True),
            "email": lambda: EmailChannel(server(self.smtp.url), "FirstHour <pages@acme.example>", self.clock.real),
            "inbox": lambda: InboxChannel(self.shown.append),
        }
        return {name: factories[name]() for name in self.channel_names}

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "config_dir": self.config,
            "data_dir": self.data,
            "admin_key": ADMIN,
            "slack_bot_token": SLACK_TOKEN,
            "slack_signing_secret": SIGNING_SECRET,
            "slack_api_url": self.slack.url,
        }

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    # --- time ---------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Run all workers and ticks until nothing is due now."""
        await self.system.settle()

    @contextmanager
    def down(self, service: str) -> Iterator[None]:
        """Stop this service for the length of the block. The other services go on."""
        system = self.system
        runners = {name: runner for name, runner in system.runners.items() if name.startswith(f"{service}.")}
        for name in runners:
            del system.runners[name]
        crews: list[Any] = system.crews if isinstance(system, Distributed) else [system]
        workers = [crew.workers for crew in crews]
        for crew in crews:
            crew.workers = [worker for worker in crew.workers if worker.consumer != service]
        yield
        system.runners |= runners
        for crew, before in zip(crews, workers, strict=True):
            crew.workers = before

    @contextmanager
    def behind(self, service: str, topic: str, partition: int) -> Iterator[None]:
        """Stop this service from reading this partition for the length of the block."""
        assert isinstance(self.system, Distributed)
        stopped = [
            (crew, worker)
            for crew in self.system.crews
            for worker in crew.workers
            if (worker.consumer, worker.topic, *worker.partitions) == (service, topic, partition)
        ]
        assert stopped
        for crew, worker in stopped:
            crew.workers.remove(worker)
        yield
        for crew, worker in stopped:
            crew.workers.append(worker)

    async def wait(self, **by: float) -> None:
        """Move time forward and stop at each time at which something is due: `wait(minutes=60)`."""
        end = self.clock.now + timedelta(**by)
        await self.settle()
        for _ in range(STEPS_MAX):
            self.clock.now = min([end, *await self._due()])
            await self.settle()
            if self.clock.now == end:
                return
        raise AssertionError(f"something is still due after {STEPS_MAX} steps: {await self._due()}")

    async def wait_until_next(self) -> None:
        """Move time forward to the next time at which something is due."""
        self.clock.now = min(await self._due())
        await self.settle()

    async def _due(self) -> list[datetime]:
        """Return the next times of clocks, absences and deliveries, in time of `clock.now`."""
        business, real = micros(self.clock.business()), micros(self.clock.real())

        def query(connection: Connection) -> list[datetime]:
            times = []
            for sql, is_business in _NEXT_TIMES:
                at = connection.execute(sa.text(sql), {"now": business if is_business else real}).scalar()
                if at is not None:
                    times.append(moment(at) - (self.clock.drift if is_business else timedelta(0)))
            return times

        return await self.system.reads(query)

    # --- faults -------------------------------------------------------------------------------------------------------

    async def append_garbage(self, id: str) -> None:
        """Append a record that no version of the services can read."""
        await self.system.units.append([Row("events", id, id, b"\xff not an event")])
        await self.settle()

    async def free_disk(self) -> None:
        """Remove the limit of the database file while the process runs."""
        await self.execute("PRAGMA max_page_count=1000000")

    async def execute(self, statement: str) -> None:
        """Run a statement on the database."""
        await self.system.units.run(lambda unit: execute(unit, statement))

    async def break_view(self, name: str) -> None:
        """Replace this view by one on which every query fails."""
        sql, fault = f"SELECT sql FROM sqlite_master WHERE name = '{name}'", "abs(-9223372036854775807 - 1)"
        if self.backends is not None:
            sql, fault = f"SELECT 'CREATE VIEW {name} AS ' || pg_get_viewdef('{name}')", "1 / 0"
        [[definition]] = await self.rows(sql)
        whole = str(definition)[str(definition).index("SELECT") :].rstrip("; ")
        await self.execute(f"DROP VIEW {name}")
        await self.execute(f"CREATE VIEW {name} AS SELECT * FROM ({whole}) AS whole WHERE {fault} = 1")

    # --- stored rows --------------------------------------------------------------------------------------------------

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the tables, for facts that the API does not show."""
        return await self.system.reads(lambda c: [tuple(row) for row in c.execute(sa.text(sql))])

    async def appended(self, *names: str) -> int:
        """Return the number of records appended to these topics; without names, to all topics."""
        if self._installation is not None:
            ends = await kafka_admin.ends(self._installation.settings())
            return sum(
                end - self._installation.first_positions[at]
                for at, end in ends.items()
                if at[0] in (names or topics.ALL)
            )
        literals = ", ".join(f"'{topic}'" for topic in names or topics.ALL)
        return int((await self.rows(f"SELECT count(*) FROM log WHERE topic IN ({literals})"))[0][0])

    async def verify(self) -> None:
        """Assert that every invariant holds."""
        await self.settle()
        real = self.clock.real()
        report = await self.system.reads(lambda c: invariants.run(c, self.clock, alive_since=real - timedelta(days=1)))
        broken = [finding for finding in report.findings if not finding.ok]
        assert not broken, broken
