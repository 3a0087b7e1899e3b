"""`Idempotency-Key`: a repeated request is executed once and answered each time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Response

from firsthour.kernel.config import Config
from firsthour.runtime.http import auth, idempotency
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.http.idempotency import Once, fingerprint, idempotent, key_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Lane, Unit
from tests.empty_tables import memory_engine
from tests.hand_clock import HandClock

T = TypeVar("T")


@dataclass
class CommandApp:
    """An application with one command, on a database in memory."""

    clock: HandClock = field(default_factory=HandClock)
    accepted: list[str] = field(default_factory=list)
    rejects: bool = False

    def __post_init__(self) -> None:
        self.engine = memory_engine()
        self.app = create_app(title="t", routers=[], telemetry=Telemetry(), ready=lambda: Readiness(True))
        self.app.state.keys = auth.Keys(self.clock, admin_key="a key that is long enough")
        _command(self.app, self)

    @property
    def alive(self) -> bool:
        return True

    async def run(self, work: Callable[[Unit], T], lane: Lane = Lane.COMMAND) -> T:
        return self.unit(work)

    async def append(self, rows: list[Row]) -> None:
        raise NotImplementedError

    def unit(self, work: Callable[[Unit], T]) -> T:
        config: Config = None  # type: ignore[assignment]  # no command of this test reads it
        with self.engine.begin() as connection:
            return work(Unit(connection, self.clock, config))

    def stored_keys(self) -> list[str]:
        with self.engine.begin() as connection:
            return [row.key for row in connection.execute(sa.select(idempotency.idempotency))]

    async def accept(
        self, lead: str, key: str | None, body: Any = None, sender: str = "a key that is long enough"
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {sender}"} | ({} if key is None else {"idempotency-key": key})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://t") as client:
            return await client.post(f"/leads/{lead}/accept", headers=headers, json=body)


def _command(app: FastAPI, harness: CommandApp) -> None:
    @app.post("/leads/{lead}/accept")
    async def accept(lead: str, once: Annotated[Once, Depends(idempotent(harness))]) -> Response:
        def work(unit: Unit) -> dict[str, object]:
            if harness.rejects:
                raise Problem(409, "Invalid state")
            harness.accepted.append(lead)
            return {"id": lead, "at": unit.clock.real(), "times": len(harness.accepted)}

        return await once(work)


@pytest.fixture
def harness() -> Iterator[CommandApp]:
    app = CommandApp()
    yield app
    app.engine.dispose()


async def test_repeated_request_is_answered_again_but_not_executed_again(harness: CommandApp) -> None:
    first, second = await harness.accept("l1", "k"), await harness.accept("l1", '"k"')
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert first.json() == {"id": "l1", "at": "2026-12-01T09:00:00Z", "times": 1}
    assert (second.headers["idempotent-replayed"], "idempotent-replayed" in first.headers) == ("true", False)
    assert harness.accepted == ["l1"]


async def test_repeated_request_without_a_key_is_executed_each_time(harness: CommandApp) -> None:
    await harness.accept("l1", None)
    await harness.accept("l1", None)
    assert harness.accepted == ["l1", "l1"]


async def test_same_key_of_another_path_or_sender_is_another_key(harness: CommandApp) -> None:
    await harness.accept("l1", "k")
    await harness.accept("l2", "k")
    await harness.accept("l1", "k", sender="an unknown key")
    assert harness.accepted == ["l1", "l2", "l1"]


async def test_other_body_with_the_same_key_is_answered_422(harness: CommandApp) -> None:
    await harness.accept("l1", "k", {"reason": "a"})
    answer = await harness.accept("l1", "k", {"reason": "b"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header:Idempotency-Key"


async def test_key_of_a_rejected_request_can_be_used_again(harness: CommandApp) -> None:
    harness.rejects = True
    assert (await harness.accept("l1", "k")).status_code == 409
    harness.rejects = False
    assert (await harness.accept("l1", "k")).status_code == 200
    assert harness.accepted == ["l1"]


async def test_stored_answers_expire_after_a_day(harness: CommandApp) -> None:
    await harness.accept("l1", "old")
    harness.clock.advance(hours=24, seconds=1)
    await harness.accept("l1", "new")
    await harness.accept("l1", "old")
    assert harness.accepted == ["l1", "l1", "l1"]
    harness.clock.advance(hours=24, seconds=1)
    assert harness.unit(lambda unit: idempotency.sweep(unit, 10)) == 2
    assert harness.stored_keys() == []


@pytest.mark.parametrize(
    ("header", "key"), [(None, None), ("a", "a"), (' "a" ', "a"), ('"a\\"b"', 'a"b'), ("x" * 255, "x" * 255)]
)
def test_key_is_parsed_with_and_without_quotes(header: str | None, key: str | None) -> None:
    assert key_of(header) == key


@pytest.mark.parametrize("header", ["", '""', "x" * 256, "\x00"])
def test_malformed_key_is_rejected(header: str) -> None:
    with pytest.raises(Problem):
        key_of(header)


def test_fingerprint_depends_on_the_boundaries_of_the_parts() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
