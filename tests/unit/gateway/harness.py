"""A harness for the gateway: the real ASGI application, fake units with controls for failures, a clock moved by hand."""

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from firsthour.kernel.config import Config
from firsthour.runtime.config.reading import ConfigFiles, load
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.log import EventLog
from firsthour.runtime.http import auth, key_store
from firsthour.runtime.http.middleware import Message, Receive, Scope, Send
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Lane, StorageError, Unit
from schemas.envelope import decode, event_of
from schemas.events.outside import ExternalEvent
from services.gateway.asgi import Gateway
from tests.dead_letters import waiting_letters
from tests.empty_tables import memory_engine
from tests.hand_clock import HandClock

T = TypeVar("T")
EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
STANDARD_SECRET = "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl"
NEXT_SECRET = "whsec_dGhlIG5leHQgb25lIG9mIHRoZSB0d28="
HMAC_SECRET = "a secret of the telephone system"
SOURCES = """
sources:
  - id: website
    kind: form
    forms: [demo-request, newsletter]
    allowed_origins: ["https://www.acme.example"]
    honeypot: fax
    redirect: https://www.acme.example/thanks
  - id: open
    kind: form
    forms: [anywhere]
    allowed_origins: ["*"]
  - id: billing
    kind: webhook
    verify: {scheme: standard-webhooks, secrets: [{file: first.secret}, {file: second.secret}]}
    events:
      - {when: "type == 'trial.began'", type: trial.started, time: timestamp, email: data.email, data: {plan: data.plan, name: data.who}}
  - id: phone
    kind: webhook
    verify: {scheme: hmac-sha256, header: X-Signature, prefix: "sha256=", secrets: [{file: phone.secret}]}
    events:
      - {when: "kind == 'call.ended'", type: touch.recorded, time: ended_at, id: uuid, email: customer.email,
         data: {channel: "'phone'", answered: "duration > `20`", rep_email: agent.email}}
      - {when: "length(note || '') > `0`", type: custom.note, email: customer.email, data: {note: note}}
  - id: stamped
    kind: webhook
    verify: {scheme: hmac-sha1, header: X-Sig, encoding: base64, timestamp_header: X-Time, secrets: [{file: phone.secret}]}
    events:
      - {type: custom.ping, email: email}
  - id: unset
    kind: webhook
    verify: {scheme: hmac-sha256, header: X-Signature, secrets: [{file: nowhere.secret}]}
    events:
      - {type: custom.ping, email: email}
  - id: hubspot
    preset: hubspot
    secrets: [{file: phone.secret}]
  - id: ours
    kind: webhook
    verify: {scheme: standard-webhooks, secrets: [{file: first.secret}]}
  - id: crm
    kind: api
    types: [opportunity.changed, custom.*]
"""


class RememberingUnits:
    """Units on a database in memory. `rows` are the committed rows.

    `full`: every commit fails. `keyless`: every commit fails but appends of events.
    """

    def __init__(self, clock: HandClock, config: Callable[[], Config]) -> None:
        self._clock, self._config = clock, config
        self.engine = memory_engine()
        self.rows: list[Row] = []
        self.full = False
        self.keyless = False

    @property
    def alive(self) -> bool:
        return True

    @property
    def batch_seconds(self) -> float:
        return 0.02

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        if self.full or self.keyless:
            raise StorageError("database or disk is full")
        with self.engine.begin() as connection:
            unit = Unit(connection, self._clock, self._config())
            result = work(unit)
            unit.finish()
        self.rows += unit.rows
        return result

    async def append(self, rows: list[Row]) -> None:
        if self.full:
            raise StorageError("database or disk is full")
        self.rows += rows


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def pointer(self) -> str:
        return str(self.json["errors"][0]["pointer"])


@dataclass(frozen=True)
class EventRecord:
    """One event in the log."""

    row: Row
    type: str
    at: str
    event: ExternalEvent


async def _inner(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"behind"})


@lru_cache
def _config(sources: str) -> Config:
    """Return the example agreement and team with these sources. Reading them is slow, so the result is cached."""
    with TemporaryDirectory() as directory:
        for name in ("agreement.yaml", "team.yaml"):
            shutil.copy(EXAMPLES / name, directory)
        (Path(directory) / "sources.yaml").write_text(sources)
        return load(Path(directory))


@cache
def _settings() -> Settings:
    return Settings(public_url="https://leads.example")


@dataclass
class GatewayHarness:
    """A gateway and the clients that send it requests."""

    directory: Path
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        (self.directory / "first.secret").write_text(STANDARD_SECRET)
        (self.directory / "second.secret").write_text(NEXT_SECRET)
        (self.directory / "phone.secret").write_text(HMAC_SECRET)
        self.files = Files(replace(_config(SOURCES), directory=self.directory))
        self.telemetry = Telemetry()
        self.units = RememberingUnits(self.clock, lambda: self.files.current)
        self.keys = auth.Keys(self.clock, admin_key=None)
        self.secrets = {role: self._key(role) for role in ("ingest", "sales")}
        with self.units.engine.begin() as connection:
            self.keys.replace(key_store.list_keys(connection))
        resources = Resources(
            _settings(),
            self.clock,
            cast(ConfigFiles, self.files),
            self.units,
            cast(Reader, None),
            cast(EventLog, None),
            self.telemetry,
            lambda name: None,
        )
        self.gateway = Gateway(resources, self.keys, _inner)
        self.resources = resources

    def configure(self, sources: str) -> None:
        """Activate these sources."""
        self.files.current = replace(_config(sources), directory=self.directory)

    def _key(self, role: str) -> str:
        with self.units.engine.begin() as connection:
            return key_store.create(connection, name=f"the {role} key", role=role, rep=None, now=self.clock.real())[1]

    def make_key(self, name: str, role: str, *, rep: str | None = None, source: str | None = None) -> None:
        """Make an API key, which `event(role=name)` sends."""
        with self.units.engine.begin() as connection:
            now = self.clock.real()
            _, self.secrets[name] = key_store.create(connection, name=name, role=role, rep=rep, source=source, now=now)
            self.keys.replace(key_store.list_keys(connection))

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        chunk: int = 0,
        client: str | None = None,
    ) -> Answer:
        """Send one request.

        Args:
            method: The method.
            path: The path.
            headers: The headers.
            body: The body.
            chunk: The bytes of each part of the body. 0: the body is one part.
            client: The address of the client. None: unknown.
        """
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        parts = [body[i : i + chunk] for i in range(0, len(body), chunk)] if chunk else [body]
        messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": n + 1 < len(parts)} for n, part in enumerate(parts)
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        path, _, query = path.partition("?")
        scope: Scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": query.encode()}
        if client is not None:
            scope["client"] = (client, 40_000)
        await self.gateway(scope, receive, send)
        head = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:]))

    async def event(self, value: object, role: str = "ingest", **headers: str) -> Answer:
        """Post `value` as JSON to /v1/events."""
        defaults = {"content-type": "application/json", "authorization": f"Bearer {self.secrets[role]}"}
        extra = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.request("POST", "/v1/events", defaults | extra, msgspec.json.encode(value))

    async def form(self, fields: Mapping[str, str], form: str = "demo-request", **headers: str) -> Answer:
        """Post `fields` as a browser does."""
        defaults = {"content-type": "application/x-www-form-urlencoded"}
        extra = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.request("POST", f"/v1/forms/{form}", defaults | extra, urlencode(fields).encode())

    @property
    def records(self) -> list[EventRecord]:
        """Return all events in the log."""
        records = []
        for row in self.units.rows:
            envelope = decode(row.body)
            event = event_of(envelope)
            assert isinstance(event, ExternalEvent)
            assert envelope.id == row.event_id
            records.append(EventRecord(row, envelope.type, envelope.time.isoformat(), event))
        return records

    @property
    def letters(self) -> list[dead_letters.DeadLetter]:
        """Return the waiting dead letters."""
        with self.units.engine.begin() as connection:
            return waiting_letters(connection)


@dataclass
class Files:
    """Fake configuration files: only the active configuration."""

    current: Config


def run(answer: Any) -> Any:
    """Run one coroutine, in a test that hypothesis calls many times."""
    return asyncio.run(answer)
