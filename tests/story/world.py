"""A whole system for stories, on either profile: HTTP in, time moved by hand, a fake Slack and a fake mail server out,
over real sockets."""

import asyncio
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
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
from firsthour.runtime.http import key_store
from firsthour.runtime.http.client import ASGITransport, AsyncClient, Response
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Unit
from schemas import topics
from services.notifier.channels.base import Channel
from services.notifier.channels.email import EmailChannel, server
from services.notifier.channels.inbox import InboxChannel
from services.notifier.channels.slack import SlackChannel
from services.notifier.domain.message import Message
from tests.backends import Backends, Installation, execute
from tests.data_directory import open_directory
from tests.distributed_harness import DistributedHarness, apply, open_harness
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSmtp
from tests.hand_clock import HandClock
from tests.story import sample_config
from tests.story.sample_config import PHONE_SECRET, Changes

ADMIN = "story-" + "k" * 40
STEPS_MAX = 10_000
_ROLE_OF = {"touch.recorded": "sales", "opportunity.changed": "manager"}  # of the key that an event is sent with
_NEXT = (  # (question, whether it is told in business time)
    ("SELECT min(due_at) FROM notifier_clocks WHERE due_at > :now", True),
    ("SELECT min(until) FROM router_reps WHERE until > :now", True),
    ("SELECT min(next_at) FROM notifier_pages WHERE next_at > :now", False),
)


@dataclass
class World:
    """An installation, and the people around it. Everything a helper starts is settled when it returns."""

    directory: Path
    clock: HandClock = field(default_factory=HandClock)
    slack: FakeSlack = field(default_factory=FakeSlack)
    smtp: FakeSmtp = field(default_factory=FakeSmtp)
    shown: list[Message] = field(default_factory=list)  # in the terminal, by the inbox
    backends: Backends | None = None  # where there are Kafka and PostgreSQL; without, embedded
    pages_max: int | None = None  # of the database file, embedded
    channel_names: tuple[str, ...] = ("slack", "email", "inbox")
    _keys: dict[tuple[str, str | None], str] = field(default_factory=dict)
    _ids: "count[int]" = field(default_factory=lambda: count(1))
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _installation: Installation | None = None
    _process: DistributedHarness | None = None

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def open(
        self, agreement: Changes | None = None, team: Changes | None = None, sources: Changes | None = None
    ) -> Self:
        """A new installation with these changes to the usual files."""
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
        for _ in range(5):  # connections that were closed end in the next turns of the loop
            await asyncio.sleep(0)

    async def restart(self) -> None:
        """End the process, and start another one on the same directory."""
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
            given = self._installation.settings(config_dir=self.config, data_dir=self.data, admin_key=ADMIN)
            self._process = await open_harness(given, self.clock, self._channels, files=self.config)
            self.system = self._process.system
        self.http = AsyncClient(transport=ASGITransport(app=self.system.app), base_url="http://firsthour.test")
        await self.system.settle()

    async def _embedded(self) -> System:
        lock = open_directory(self.data)
        given = settings.load(config_dir=self.config, data_dir=self.data, admin_key=ADMIN)
        files = ConfigFiles(self.config)
        return await embedded.open_system(given, self.clock, files, self._channels, lock=lock, pages_max=self.pages_max)

    async def _stop(self) -> None:
        await self.http.aclose()
        await (self._process or self.system).close()
        for channel in self._channels.values():
            await channel.close()

    def _open_channels(self) -> dict[str, Channel]:
        made: dict[str, Callable[[], Channel]] = {
            "slack": lambda: SlackChannel("xoxb-story-token", self.slack.url),
            "email": lambda: EmailChannel(server(self.smtp.url), "FirstHour <pages@acme.example>", self.clock.real),
            "inbox": lambda: InboxChannel(self.shown.append),
        }
        return {name: made[name]() for name in self.channel_names}

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    # --- time ---------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let everything happen that is due now."""
        await self.system.settle()

    @contextmanager
    def down(self, service: str) -> Iterator[None]:
        """Meanwhile this service does nothing, and the others go on."""
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
        """Meanwhile this service reads nothing of this partition, and goes on with the others."""
        assert isinstance(self.system, Distributed)
        found = [(crew, worker) for crew in self.system.crews for worker in crew.workers]
        held = [
            one for one in found if (one[1].consumer, one[1].topic, *one[1].partitions) == (service, topic, partition)
        ]
        assert held
        for crew, worker in held:
            crew.workers.remove(worker)
        yield
        for crew, worker in held:
            crew.workers.append(worker)

    async def wait(self, **by: float) -> None:
        """Let time pass, from each moment at which something is due to the next: `wait(minutes=60)`."""
        end = self.clock.now + timedelta(**by)
        await self.settle()
        for _ in range(STEPS_MAX):
            self.clock.now = min([end, *await self._due()])
            await self.settle()
            if self.clock.now == end:
                return
        raise AssertionError(f"always something due: {await self._due()}")

    async def _due(self) -> list[datetime]:
        """The next moments of the agreement, of absences and of deliveries, as the clock will show them."""
        business, real = micros(self.clock.business()), micros(self.clock.real())

        def ask(connection: Connection) -> list[datetime]:
            found = []
            for question, is_business in _NEXT:
                at = connection.execute(sa.text(question), {"now": business if is_business else real}).scalar()
                if at is not None:
                    found.append(moment(at) - (self.clock.drift if is_business else timedelta(0)))
            return found

        return await self.system.reads(ask)

    # --- prospects, and their systems -----------------------------------------------------------------------------------

    async def submit_form(self, form: str = "demo-request", **fields: Any) -> None:
        """Somebody fills in a form."""
        answer = await self.post_form(form, **fields)
        assert answer.status_code == 202, answer.text
        await self.settle()

    async def post_form(self, form: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Response:
        """The bare request. Names with a dot are written with `__` here."""
        body = {name.replace("__", "."): value for name, value in fields.items()}
        return await self.http.post(f"/v1/forms/{form}", json=body, headers=headers or {})

    async def event(self, type: str, **fields: Any) -> None:
        """A system of ours posts an event; `data` takes what is not an identifier."""
        answer = await self.post_events(self.event_body(type, **fields), role=_ROLE_OF.get(type, "ingest"))
        assert answer.status_code == 202, answer.text
        await self.settle()

    def event_body(self, type: str, **fields: Any) -> dict[str, Any]:
        """Our short form, under an id of its own unless `id` is given."""
        made: dict[str, Any] = {"id": f"event-{next(self._ids)}", "type": type}
        for name in ("id", "time", "email", "phone"):
            if name in fields:
                value = fields.pop(name)
                made[name] = value.isoformat() if isinstance(value, datetime) else value
        return {**made, "data": fields}

    async def post_events(
        self,
        *events: Mapping[str, Any],
        role: str = "ingest",
        rep: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The bare request."""
        key = await self.key(role, rep)
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        body = json.dumps(events[0] if len(events) == 1 else events)
        return await self.http.post("/v1/events", content=body, headers=sent)

    async def call_ended(self, email: str, *, agent: str, seconds: int = 300) -> None:
        """The telephone system tells of a call."""
        body = {
            "kind": "call.ended",
            "uuid": f"call-{next(self._ids)}",
            "ended_at": self.clock.business().isoformat(),
            "customer": {"email": email},
            "agent": {"email": agent},
            "duration": seconds,
        }
        answer = await self.hook("phone", json.dumps(body).encode())
        assert answer.status_code == 202, answer.text
        await self.settle()

    async def hook(self, source: str, body: bytes, secret: str = PHONE_SECRET) -> Response:
        """The bare request, signed."""
        signature = hmac.digest(secret.encode(), body, "sha256").hex()
        headers = {"X-Signature": signature, "Content-Type": "application/json"}
        return await self.http.post(f"/hooks/{source}", content=body, headers=headers)

    async def append_garbage(self, id: str) -> None:
        """Something stands in the log that no version of ours can read."""
        await self.system.units.append([Row("events", id, id, b"\xff not an event")])
        await self.settle()

    async def free_disk(self) -> None:
        """Somebody makes room on the disk while we run."""
        await self.execute("PRAGMA max_page_count=1000000")

    async def execute(self, statement: str) -> None:
        """Somebody is at our tables."""
        await self.system.units.run(lambda unit: execute(unit, statement))

    async def break_view(self, name: str) -> None:
        """Somebody makes this view anew, with a fault: each question to it fails."""
        question, fault = f"SELECT sql FROM sqlite_master WHERE name = '{name}'", "abs(-9223372036854775807 - 1)"
        if self.backends is not None:
            question, fault = f"SELECT 'CREATE VIEW {name} AS ' || pg_get_viewdef('{name}')", "1 / 0"
        [[definition]] = await self.rows(question)
        whole = str(definition)[str(definition).index("SELECT") :].rstrip("; ")
        await self.execute(f"DROP VIEW {name}")
        await self.execute(f"CREATE VIEW {name} AS SELECT * FROM ({whole}) AS whole WHERE {fault} = 1")

    # --- reps and managers ----------------------------------------------------------------------------------------------

    async def touch(self, email: str, by: str, *, answered: bool = True, **more: Any) -> None:
        """A rep was in touch, or tried."""
        await self._done(email, "touch", by, channel="phone", answered=answered, **more)

    async def accept(self, email: str, by: str) -> None:
        await self._done(email, "accept", by)

    async def reject(self, email: str, by: str, reason: str) -> None:
        await self._done(email, "reject", by, reason=reason)

    async def opt_out(self, email: str, by: str = "max") -> None:
        await self._done(email, "opt-out", by, reason="asked us to stop")

    async def recycle(self, email: str, by: str, reason: str = "stalled") -> None:
        await self._done(email, "recycle", by, reason=reason)

    async def act(self, email: str, action: str, by: str, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        """The bare request, with a key that acts as the rep `by`."""
        lead = (await self.lead(email))["id"]
        role = "manager" if by == "max" else "sales"
        return await self.ask("POST", f"/v1/leads/{lead}/{action}", role, by, body=body, headers=headers)

    async def _done(self, email: str, action: str, by: str, **body: Any) -> None:
        answer = await self.act(email, action, by, **body)
        assert answer.status_code == 200, answer.text
        await self.settle()

    async def is_away(self, rep: str, **until: float) -> None:
        """A rep goes away; for so long, or until they are back."""
        end = {"until": (self.clock.business() + timedelta(**until)).isoformat()} if until else {}
        await self._available(rep, available=False, **end)

    async def is_back(self, rep: str) -> None:
        await self._available(rep, available=True)

    async def _available(self, rep: str, **body: Any) -> None:
        answer = await self.ask("POST", f"/v1/reps/{rep}/availability", "sales", rep, body=body)
        assert answer.status_code == 200, answer.text
        await self.settle()

    async def change(self, name: str, changes: Changes) -> None:
        """Somebody edits a configuration file while we run, and past one machine applies it."""
        sample_config.write(self.config, name, changes)
        if isinstance(self.system, Distributed):
            await apply(self.system, self.config)
        await self.settle()

    async def key(self, role: str, rep: str | None = None) -> str:
        """An API key of that role; the same one each time."""
        if (role, rep) not in self._keys:

            def work(unit: Unit) -> str:
                name = f"{role} of {rep or 'nobody'}"
                return key_store.create(unit.connection, name=name, role=role, rep=rep, now=unit.clock.real())[1]

            made = await self.system.units.run(work)
            await self.system.runners["runtime.keys"].step()
            self._keys[role, rep] = made
        return self._keys[role, rep]

    async def ask(
        self,
        method: str,
        path: str,
        role: str | None = "admin",
        rep: str | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Any request with a key of that role; without a key when it is None."""
        sent = dict(headers or {})
        if role is not None:
            sent["Authorization"] = f"Bearer {ADMIN if role == 'admin' else await self.key(role, rep)}"
        return await self.http.request(method, path, json=body, headers=sent)

    # --- looking ----------------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def lead(self, email: str) -> dict[str, Any]:
        """The one lead of this address."""
        found = (await self.http.get("/v1/leads", params={"email": email}, headers=_ADMIN)).json()["items"]
        assert len(found) == 1, f"{len(found)} leads of {email}"
        return dict(found[0])

    async def leads(self, **asked: str) -> list[dict[str, Any]]:
        """Every lead, newest first."""
        answer = await self.http.get("/v1/leads", params={"limit": "500", **asked}, headers=_ADMIN)
        return list(answer.json()["items"])

    async def owner_of(self, email: str) -> str | None:
        owner = (await self.lead(email))["owner"]
        return None if owner is None else str(owner["id"])

    async def status_of(self, email: str) -> str:
        return str((await self.lead(email))["status"])

    async def lead_items(self, email: str, what: str) -> list[dict[str, Any]]:
        """The items of `/v1/leads/{id}/<what>`, oldest first."""
        return list(reversed((await self.get(f"/v1/leads/{(await self.lead(email))['id']}/{what}"))["items"]))

    async def event_types_of(self, email: str) -> list[str]:
        """The types of what happened to a lead, in order."""
        return [str(item["type"]) for item in await self.lead_items(email, "timeline")]

    async def pages(self, email: str | None = None) -> list[dict[str, Any]]:
        """Pages, oldest first."""
        about = f"&lead={(await self.lead(email))['id']}" if email else ""
        return list(reversed((await self.get(f"/v1/pages?limit=200{about}"))["items"]))

    @property
    def slack_recipients(self) -> list[str]:
        """Rep ids in the order in which Slack told them."""
        return [member.removeprefix("U0").lower() for member in self.slack.recipients]

    @property
    def mail_recipients(self) -> list[str]:
        """Rep ids in the order in which they got mail."""
        return [address.partition("@")[0] for address in self.smtp.recipients]

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Straight from the tables, for what no answer shows."""
        return await self.system.reads(lambda c: [tuple(row) for row in c.execute(sa.text(question))])

    async def appended(self, *wanted: str) -> int:
        """How many records these topics have got; all, if none is named."""
        if self._installation is not None:
            ends = await kafka_admin.ends(self._installation.settings())
            return sum(
                end - self._installation.first_positions[at]
                for at, end in ends.items()
                if at[0] in (wanted or topics.ALL)
            )
        named = ", ".join(f"'{topic}'" for topic in wanted or topics.ALL)
        return int((await self.rows(f"SELECT count(*) FROM log WHERE topic IN ({named})"))[0][0])

    async def verify(self) -> None:
        """Every invariant holds."""
        await self.settle()
        real = self.clock.real()
        found = await self.system.reads(lambda c: invariants.run(c, self.clock, alive_since=real - timedelta(days=1)))
        broken = [finding for finding in found.findings if not finding.ok]
        assert not broken, broken


_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
