"""Answers of a process before its start, on its metrics port, and with keys from its own disk."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy.engine import Connection
from structlog.testing import capture_logs

from firsthour.bootstrap.refreshers import KeyRefresher
from firsthour.bootstrap.startup import StartupGate
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.key_store import Key, digest
from firsthour.runtime.http.metrics_port import answering, listening
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.server import PortTakenError, listen, port_of
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.unit import StorageError, Units
from tests.hand_clock import HandClock

ADMIN = "a" * 40
REASONS = ("10.0.0.7:5432 refuses the user firsthour", "kafka:9092 does not answer")


# --- before the start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/readyz", "/healthz", "/metrics", "/v1/leads", "/v1/events", "/v1/forms/demo"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_answers_before_the_start_name_no_host_user_or_broker(method: str, path: str) -> None:
    door = StartupGate(Keys(HandClock(), admin_key=ADMIN))
    door.waits_for = REASONS
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://site") as client:
        answer = await client.request(method, path)
        assert answer.status_code in (200, 401, 405, 503)
        text = answer.text + str(answer.headers)
        assert not any(word in text for word in ("10.0.0.7", "5432", "firsthour@", "user", "kafka", "9092"))
        if path == "/readyz" and method == "GET":
            assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
            answer = await client.get(path, headers={"authorization": f"Bearer {ADMIN}"})
            assert list(answer.json()["checks"].values()) == list(REASONS)


async def test_visitor_of_a_form_before_the_start_gets_a_page() -> None:
    door = StartupGate(Keys(HandClock(), admin_key=ADMIN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://site") as client:
        shown = await client.post("/v1/forms/demo-request", headers={"accept": "text/html"})
        answer = await client.post("/v1/forms/demo-request")
    assert (shown.status_code, shown.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "send it again in a moment" in shown.text
    assert (answer.status_code, answer.json()["title"]) == (503, "Starting")
    assert shown.headers["cache-control"] == answer.headers["cache-control"] == "no-store"
    assert shown.headers["retry-after"] == answer.headers["retry-after"]


# --- metrics -----------------------------------------------------------------------------------------------------


async def test_metrics_port_answers_only_metrics() -> None:
    with listen("127.0.0.1", 0) as free:
        port = port_of(free)
    telemetry = Telemetry()
    telemetry.events_accepted.labels("website").inc()
    with listen("127.0.0.1", 0) as front, listening("127.0.0.1", port, front) as bound:
        with (
            pytest.raises(PortTakenError, match="FIRSTHOUR_METRICS_PORT"),
            listening("127.0.0.1", port_of(front), front),
        ):
            pass
        async with (
            answering(telemetry, bound),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            answer = await client.get("/metrics")
            assert (answer.status_code, answer.headers["content-type"]) == (
                200,
                "text/plain; version=0.0.4; charset=utf-8",
            )
            assert 'events_accepted_total{source="website"} 1.0' in answer.text
            assert (await client.head("/metrics")).content == b""
            for path in ("/", "/readyz", "/v1/leads"):
                assert (await client.get(path)).status_code == 404
            assert (await client.post("/metrics", content=b"x")).status_code == 404


async def test_no_metrics_port_opens_no_listener() -> None:
    with listen("127.0.0.1", 0) as front, listening("127.0.0.1", None, front) as bound:
        assert bound is None
        async with answering(Telemetry(), bound):
            pass


# --- keys on disk ------------------------------------------------------------------------------------------------


class Database:
    """The table of the keys. `away`: the database does not answer."""

    def __init__(self) -> None:
        self.away = False
        self.keys: list[Key] = []

    async def __call__(self, work: Callable[[Connection], Any], /) -> Any:
        if self.away:
            raise StorageError("away")
        return [*self.keys]

    async def run(self, work: Callable[..., Any]) -> None:
        if self.away:
            raise StorageError("away")


def stored_keys(clock: HandClock, database: Database, directory: Path) -> tuple[Keys, KeyRefresher]:
    keys = Keys(clock, age_seconds_max=3_600)
    return keys, KeyRefresher(keys, cast(Units, database), database, directory)


async def test_cached_keys_keep_the_age_of_their_database_read(tmp_path: Path) -> None:
    clock, database = HandClock(), Database()
    database.keys = [Key("k", "form", "ingest", None, digest("fh_k"), clock.now, None, None, None)]
    _, keeper = stored_keys(clock, database, tmp_path)
    await keeper.step()
    clock.advance(minutes=30)
    await keeper.step()
    database.away = True
    clock.advance(minutes=59)
    keys, keeper = stored_keys(clock, database, tmp_path)  # another process on the same disk
    await keeper.step()
    assert keys.find("Bearer fh_k") is not None
    assert keys.warnings() == ("keys were read 3540 s ago: a key that was revoked since is still accepted",)
    clock.advance(minutes=2)
    with pytest.raises(Problem) as caught:
        keys.find("Bearer fh_k")
    assert caught.value.status == 503
    database.away, database.keys = False, []
    await keeper.step()
    assert keys.find("Bearer fh_k") is None
    assert keys.warnings() == ()


async def test_failed_write_keeps_the_age_of_the_cached_keys(tmp_path: Path) -> None:
    clock, database = HandClock(), Database()
    database.keys = [Key("k", "form", "ingest", None, digest("fh_k"), clock.now, None, None, None)]
    _, keeper = stored_keys(clock, database, tmp_path)
    await keeper.step()
    in_the_way = tmp_path / f"keys.cache.{os.getpid()}.draft"
    in_the_way.mkdir()
    database.keys = []  # revoked
    with capture_logs() as lines:
        for _ in range(3):
            clock.advance(minutes=25)
            await keeper.step()
    assert [line["event"] for line in lines] == ["keys not cached"]
    keys, _ = stored_keys(clock, database, tmp_path)  # another process on the same disk
    with pytest.raises(Problem):
        keys.find("Bearer fh_k")
    in_the_way.rmdir()
    await keeper.step()
    keys, _ = stored_keys(clock, database, tmp_path)
    assert keys.find("Bearer fh_k") is None


async def test_cache_of_a_fast_clock_is_not_from_the_future(tmp_path: Path) -> None:
    clock, database = HandClock(), Database()
    _, keeper = stored_keys(clock, database, tmp_path)
    await keeper.step()
    ahead = (clock.now + timedelta(days=300)).timestamp()
    os.utime(tmp_path / "keys.cache", (ahead, ahead))
    keys, _ = stored_keys(clock, database, tmp_path)
    clock.advance(hours=2)
    with pytest.raises(Problem):
        keys.find("Bearer fh_k")
