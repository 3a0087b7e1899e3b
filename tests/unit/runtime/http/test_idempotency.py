"""`Idempotency-Key`: done once, answered each time."""

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
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Lane, Unit
from tests.hand_clock import HandClock

T = TypeVar("T")


@dataclass
class Desk:
    """An application with one command, on a database in memory."""

    clock: HandClock = field(default_factory=HandClock)
    done: list[str] = field(default_factory=list)
    refuses: bool = False

    def __post_init__(self) -> None:
        self.engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
        statements.metadata.create_all(self.engine)
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
        config: Config = None  # type: ignore[assignment]  # nothing here asks for it
        with self.engine.begin() as connection:
            return work(Unit(connection, self.clock, config))

    def keys_kept(self) -> list[str]:
        with self.engine.begin() as connection:
            return [row.key for row in connection.execute(sa.select(idempotency.idempotency))]

    async def accept(
        self, lead: str, key: str | None, body: Any = None, who: str = "a key that is long enough"
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {who}"} | ({} if key is None else {"idempotency-key": key})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://t") as client:
            return await client.post(f"/leads/{lead}/accept", headers=headers, json=body)


def _command(app: FastAPI, desk: Desk) -> None:
    @app.post("/leads/{lead}/accept")
    async def accept(lead: str, once: Annotated[Once, Depends(idempotent(desk))]) -> Response:
        def work(unit: Unit) -> dict[str, object]:
            if desk.refuses:
                raise Problem(409, "Not now")
            desk.done.append(lead)
            return {"id": lead, "at": unit.clock.real(), "times": len(desk.done)}

        return await once(work)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.engine.dispose()


async def test_a_command_sent_again_is_answered_again_and_not_done_again(desk: Desk) -> None:
    first, again = await desk.accept("l1", "k"), await desk.accept("l1", '"k"')
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert first.json() == {"id": "l1", "at": "2026-12-01T09:00:00Z", "times": 1}
    assert (again.headers["idempotent-replayed"], "idempotent-replayed" in first.headers) == ("true", False)
    assert desk.done == ["l1"]


async def test_without_a_key_it_is_done_each_time(desk: Desk) -> None:
    await desk.accept("l1", None)
    await desk.accept("l1", None)
    assert desk.done == ["l1", "l1"]


async def test_keys_are_told_apart_by_path_and_by_sender(desk: Desk) -> None:
    await desk.accept("l1", "k")
    await desk.accept("l2", "k")
    await desk.accept("l1", "k", who="nobody known")
    assert desk.done == ["l1", "l2", "l1"]


async def test_another_body_under_the_same_key_is_refused(desk: Desk) -> None:
    await desk.accept("l1", "k", {"reason": "a"})
    answer = await desk.accept("l1", "k", {"reason": "b"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header:Idempotency-Key"


async def test_a_refused_command_leaves_its_key_free(desk: Desk) -> None:
    desk.refuses = True
    assert (await desk.accept("l1", "k")).status_code == 409
    desk.refuses = False
    assert (await desk.accept("l1", "k")).status_code == 200
    assert desk.done == ["l1"]


async def test_answers_are_forgotten_after_a_day_by_use_and_by_the_sweep(desk: Desk) -> None:
    await desk.accept("l1", "old")
    desk.clock.advance(hours=24, seconds=1)
    await desk.accept("l1", "new")
    await desk.accept("l1", "old")
    assert desk.done == ["l1", "l1", "l1"]
    desk.clock.advance(hours=24, seconds=1)
    assert desk.unit(lambda unit: idempotency.sweep(unit, 10)) == 2
    assert desk.keys_kept() == []


@pytest.mark.parametrize(
    ("header", "key"), [(None, None), ("a", "a"), (' "a" ', "a"), ('"a\\"b"', 'a"b'), ("x" * 255, "x" * 255)]
)
def test_a_key_may_be_quoted_or_bare(header: str | None, key: str | None) -> None:
    assert key_of(header) == key


@pytest.mark.parametrize("header", ["", '""', "x" * 256, "\x00"])
def test_a_key_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(Problem):
        key_of(header)


def test_parts_of_a_request_cannot_pass_for_each_other() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
