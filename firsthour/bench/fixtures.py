"""What is measured, and what it is fed: a system made by factories, a configuration of its own, made-up events."""

import asyncio
import hmac
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeVar

import msgspec
import uvloop
from pydantic import SecretStr
from ruamel.yaml import YAML
from starlette.types import ASGIApp

from firsthour.bootstrap.monitors import DATABASE_MONITOR
from firsthour.bootstrap.refreshers import KEY_REFRESHER
from firsthour.runtime.clock import Clock, HostClock, new_id
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.http import server
from firsthour.runtime.package_files import examples
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings, load
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import Place, Row
from firsthour.runtime.storage.unit import Units
from schemas.envelope import encode
from schemas.events import ExternalEvent, Facts
from schemas.topics import EVENTS
from services.notifier.channels.base import Channel, Outcome, Sent
from services.notifier.domain.message import Message

T = TypeVar("T")

KEY: Final = "bench-0123456789abcdef0123456789abcdef"
HOOK_SECRET: Final = "of-a-source-that-lives-for-three-minutes"  # noqa: S105
HOOK: Final = "bench"
REPS: Final = 12
LOOK_SECONDS: Final = 0.002


class Opened(Protocol):
    """A system as `firsthour.bootstrap.embedded` opens it, as far as it is needed here."""

    @property
    def resources(self) -> Resources: ...
    @property
    def app(self) -> ASGIApp: ...
    @property
    def units(self) -> Units: ...
    @property
    def reads(self) -> Reader: ...
    @property
    def workers(self) -> Sequence[Worker]: ...
    async def run(self) -> None: ...
    async def close(self) -> None: ...


class Runs(Protocol):
    """A runner, as far as it is needed here."""

    async def step(self) -> bool: ...


class Follows(Protocol):
    """A service's view of Kafka, as far as it is needed here."""

    service: str
    joined: bool
    assigned: Callable[[set[Place]], None]

    @property
    def ours(self) -> set[Place]: ...


class Network(Protocol):
    """One process of many as `firsthour.bootstrap.distributed` opens it, as far as it is needed here."""

    @property
    def app(self) -> ASGIApp: ...
    @property
    def reads(self) -> Reader: ...
    @property
    def runners(self) -> Mapping[str, Runs]: ...
    @property
    def logs(self) -> Sequence[Follows]: ...
    async def run(self) -> None: ...
    async def close(self) -> None: ...


class OpenNetwork(Protocol):
    """`firsthour.bootstrap.distributed.open_distributed`."""

    def __call__(
        self, settings: Settings, wanted: Sequence[str], channels: Mapping[str, Channel], *, clock: Clock | None = None
    ) -> Awaitable[Network]: ...


class OpenSystem(Protocol):
    """`firsthour.bootstrap.embedded.open_system`."""

    def __call__(
        self,
        settings: Settings,
        clock: Clock,
        config: ConfigFiles,
        channels: Mapping[str, Channel],
        *,
        lock: IO[str],
        pages_max: int | None = None,
        only: Sequence[str] | None = None,
    ) -> Awaitable[Opened]: ...


@dataclass(frozen=True)
class Factory:
    """How systems are made: `open_clock` and `open_system` of `firsthour.bootstrap.embedded`, by which children find them too, and
    `open_distributed` of `firsthour.bootstrap.distributed`, without which there is but one profile to measure."""

    open_clock: Callable[[Path, float], tuple[IO[str], HostClock]]
    open_system: OpenSystem
    open_network: OpenNetwork | None = None

    async def open(
        self, home: Path, *, only: Sequence[str] | None = None, inbox: Channel | None = None, clock: Clock | None = None
    ) -> Opened:
        """The system whose data and configuration lie in `home`."""
        lock, host = self.open_clock(home, 1.0)
        settings = load(config_dir=home / "config", data_dir=home, admin_key=SecretStr(KEY))
        files = ConfigFiles(home / "config")
        return await self.open_system(
            settings, clock or host, files, {"inbox": inbox or RecordingChannel()}, lock=lock, only=only
        )

    async def network(
        self, settings: Settings, wanted: Sequence[str], told: Channel, clock: Clock | None = None
    ) -> Network:
        """Some services over Kafka and PostgreSQL, which know their configuration and who may ask."""
        if self.open_network is None:
            raise NotImplementedError("nobody said how services over Kafka and PostgreSQL are opened")
        made = await self.open_network(settings, wanted, {"inbox": told}, clock=clock)
        await made.runners[DATABASE_MONITOR].step()
        await made.runners[KEY_REFRESHER].step()
        return made


class RecordingChannel:
    """A channel that accepts everything and remembers when: the address of each lead, and the monotonic second."""

    name = "inbox"

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self._clock = HostClock()

    async def send(self, message: Message) -> Outcome:
        self.told.append((message.card.email, self._clock.monotonic()))
        return Sent(message.page_id)

    async def close(self) -> None:
        """Nothing was opened."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run as `firsthour up` does: the same loop, the same hand-over between loop and writer."""
    server.tune()
    return uvloop.run(main)


def failure(task: "asyncio.Task[None]") -> str | None:
    """Why a task that goes on for ever has ended; None while it goes on."""
    if not task.done():
        return None
    return "".join(traceback.format_exception(error)) if (error := task.exception()) else "it ended"


async def until(reached: Callable[[], bool]) -> None:
    """Look again every two milliseconds: what is measured must not be made to tell."""
    while not reached():  # noqa: ASYNC110  # see above
        await asyncio.sleep(LOOK_SECONDS)


async def caught_up(system: Opened) -> None:
    """Return once every worker is at the end of what it hears."""
    while any([await worker.lag() > 0 for worker in system.workers]):  # noqa: ASYNC110  # see `until`
        await asyncio.sleep(LOOK_SECONDS)


# --- configuration --------------------------------------------------------------------------------------------------


def furnish(home: Path, *, ladder: Sequence[Mapping[str, object]] | None = None) -> Path:
    """A data directory with the example agreement, a team nobody of whom is ever full, and one signed source."""
    config = home / "config"
    config.mkdir(parents=True, exist_ok=True)
    yaml = YAML(typ="safe")
    agreement = yaml.load((examples() / "agreement.yaml").read_text(encoding="utf-8"))
    if ladder is not None:
        agreement["response"]["ladder"] = [dict(rung) for rung in ladder]
    for name, content in (("agreement", agreement), ("team", _team()), ("sources", _sources())):
        with (config / f"{name}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
    (config / "hook.secret").write_text(HOOK_SECRET, encoding="utf-8")
    return home


def _team() -> dict[str, object]:
    reps: list[dict[str, object]] = [
        {
            "id": f"rep{n}",
            "name": f"Rep {n}",
            "email": f"rep{n}@ourcompany.example",
            "languages": ["en", "fr"],
            "capacity": {"open": 1_000_000},
        }
        for n in range(REPS)
    ]
    members = [{"rep": rep["id"]} for rep in reps]
    return {"reps": reps, "pools": [{"id": "enterprise", "members": members}, {"id": "growth", "members": members}]}


def _sources() -> dict[str, object]:
    fields = ("name", "title", "phone", "language", "country")
    data = {field: field for field in fields} | {"company.name": "company", "company.employees": "employees"}
    event = {"type": "form.submitted", "id": "id", "email": "email", "data": data | {"form": "form"}}
    verify = {"scheme": "hmac-sha256", "header": "X-Signature", "secrets": [{"file": "hook.secret"}]}
    return {"sources": [{"id": HOOK, "kind": "webhook", "verify": verify, "events": [event]}]}


# --- people and what they do ----------------------------------------------------------------------------------------

_FIRST = ("Ada", "Björn", "Chloé", "Deniz", "Emeka", "Farah", "Goran", "Hana", "Imre", "Jonna", "Kofi", "Lucía")
_LAST = ("Almeida", "Brandt", "Costa", "Demir", "Eriksen", "Fofana", "Groot", "Haas", "Ito", "Jansen", "Kovač", "Lind")
_TITLES = ("Head of IT", "VP Engineering", "Director of Operations", "CTO", "Founder", "Head of Procurement")
_PATHS = ("/pricing", "/plans/team", "/docs/install", "/blog/first-hour", "/customers", "/")


def buyer(number: int) -> tuple[str, Facts]:
    """Somebody who fits: their address, and what a form says of them."""
    name = f"{_FIRST[number % 12]} {_LAST[number // 12 % 12]}"
    company = f"firm{number % 4_999}"
    return f"buyer{number}@{company}.example", {
        "name": name,
        "title": _TITLES[number % 6],
        "phone": f"+4930{1_000_000 + number % 8_000_000}",
        "country": "DE",
        "language": "en",
        "company.name": f"{company.title()} Industries GmbH",
        "company.domain": f"{company}.example",
        "company.employees": 100 + number % 800,
        "company.industry": "software",
        "company.country": "DE",
        "utm.source": "newsletter",
        "utm.medium": "email",
        "utm.campaign": "first-hour",
    }


def reader(number: int) -> tuple[str, Facts]:
    """Somebody who only reads: never fits well enough to be handed over."""
    return f"reader{number}@mail{number % 997}.example", {
        "name": f"{_FIRST[number % 12]} {_LAST[number // 12 % 12]}",
        "title": "Student",
        "country": "DE",
        "language": "en",
        "company.name": "University",
        "company.employees": 12_000,
        "company.industry": "education",
        "utm.source": "search",
        "utm.medium": "organic",
        "utm.campaign": "none",
    }


def events(
    count: int, now: datetime, *, readers: int | None, first: int = 0, seed: int = 7, one_asks_in: int = 5
) -> Iterator[Row]:
    """Rows of the `events` topic as the gateway writes them: every fifth a demo asked for by somebody new, who is
    handed over and assigned; the others pages viewed by one of `readers` (None: each by somebody new). `first`: the number of the first."""
    chance = random.Random(seed + first)
    for number in range(first, first + count):
        asks = number % one_asks_in == 0
        email, person = buyer(number) if asks else reader(chance.randrange(readers) if readers else number)
        fields: Facts = {"path": _PATHS[number % 6], "referrer": "https://www.ourcompany.example/start"}
        if asks:
            fields["form"] = "demo-request"
        happened = ExternalEvent(
            source="website", source_id=f"s{number}", received_at=now, email=email, person=person, fields=fields
        )
        id, type = new_id(), "form.submitted" if asks else "page.viewed"
        body = encode(happened, id=id, source="urn:firsthour:gateway", time=now, key=email, type=type)
        yield Row(EVENTS, email, id, body)


# --- requests -------------------------------------------------------------------------------------------------------

_json = msgspec.json.Encoder().encode


def hook_request(number: int) -> tuple[str, bytes]:
    """A signed webhook by which buyer `number` asks for a demo: (their address, the request)."""
    email, person = buyer(number)
    said = {field: value for field, value in person.items() if "." not in field}
    body = _json(
        said
        | {"id": f"w{number}", "form": "demo-request", "email": email}
        | {"company": person["company.name"], "employees": person["company.employees"]}
    )
    signature = hmac.digest(HOOK_SECRET.encode(), body, "sha256").hex()
    return email, request(f"/hooks/{HOOK}", body, {"X-Signature": signature})


def short_form(number: int) -> dict[str, object]:
    """One event in our short form."""
    email, person = buyer(number)
    company = {field.removeprefix("company."): value for field, value in person.items() if field.startswith("company.")}
    utm = {field.removeprefix("utm."): value for field, value in person.items() if field.startswith("utm.")}
    said = {field: value for field, value in person.items() if "." not in field}
    data = said | {"company": company, "utm": utm, "form": "demo-request", "path": "/pricing"}
    return {"id": f"e{number}", "type": "form.submitted", "email": email, "data": data}


def event_request(number: int) -> bytes:
    """A POST of one event."""
    return request("/v1/events", _json(short_form(number)), {"Authorization": f"Bearer {KEY}"})


def batch_request(number: int, size: int) -> bytes:
    """A POST of `size` events at once."""
    body = _json([short_form(number * size + n) for n in range(size)])
    return request("/v1/events", body, {"Authorization": f"Bearer {KEY}"})


def request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP/1.1 POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def timed() -> Iterator[list[float]]:
    """Fills in (wall seconds, CPU seconds of this process) at the end."""
    clock = HostClock()
    found: list[float] = []
    wall, cpu = clock.monotonic(), cpu_seconds()
    yield found
    found += [clock.monotonic() - wall, cpu_seconds() - cpu]


def cpu_seconds() -> float:
    """CPU used by this process so far, all its threads."""
    return time.process_time()
