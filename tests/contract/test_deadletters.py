"""Dead letters are limited by age and by bytes per source. Posts of robots are removed first."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letter_statements import ROW_BYTES
from firsthour.runtime.eventlog.dead_letters import GATEWAY, PUBLISHER, Retention
from firsthour.runtime.processing.retention import drop_dead_letters
from firsthour.runtime.storage.unit import Unit
from schemas.envelope import RECORD_BYTES_MAX
from tests.backends import Backends
from tests.contract.conftest import Backend, emitting
from tests.contract.systems import opened
from tests.dead_letters import waiting_letters

SMALL = Retention(bytes_max=100_000)


def store_letter(unit: Unit, body: bytes, source: str = "website", **more: Any) -> str:
    values: dict[str, Any] = {
        "consumer": GATEWAY,
        "origin": "/v1/forms/f",
        "error": "e",
        "code": "1",
        "retention": SMALL,
    } | more
    return dead_letters.dead_letter(unit.connection, at=unit.clock.real(), source=source, body=body, **values)


async def stored_bodies(backend: Backend, source: str = "website") -> list[bytes]:
    return [letter.body for letter in await backend.reads(waiting_letters) if letter.source == source]


async def stored_bytes(backend: Backend, source: str = "website") -> int:
    rows = await backend.rows(f"SELECT bytes FROM dead_letter_totals WHERE budget = 'gateway:{source}'")
    return int(rows[0][0])


async def test_oldest_dead_letters_of_a_source_are_removed_above_its_byte_limit(backend: Backend) -> None:
    await backend.units.run(lambda unit: store_letter(unit, b"other", "partner"))
    for n in range(30):
        backend.clock.advance(seconds=1)
        await backend.units.run(lambda unit, n=n: store_letter(unit, b"%02d" % n + b"x" * 10_000))  # type: ignore[misc]
    bodies = await stored_bodies(backend)
    assert [body[:2] for body in bodies] == [b"%02d" % n for n in range(30 - len(bodies), 30)]
    assert 80_000 < sum(map(len, bodies)) < await stored_bytes(backend) <= SMALL.bytes_max
    assert await stored_bodies(backend, "partner") == [b"other"]


async def test_posts_of_robots_are_removed_before_those_of_people(backend: Backend) -> None:
    await backend.units.run(lambda unit: store_letter(unit, b"a person's"))
    for n in range(40):
        backend.clock.advance(seconds=1)
        await backend.units.run(lambda unit, n=n: store_letter(unit, b"%02d" % n + b"x" * 20_000, robot=True))  # type: ignore[misc]
    bodies = await stored_bodies(backend)
    assert bodies[0] == b"a person's"
    assert [body[:2] for body in bodies[1:]] == [b"36", b"37", b"38", b"39"]


async def test_many_small_dead_letters_are_removed_for_a_large_one(backend: Backend) -> None:
    def many(unit: Unit) -> None:
        for _ in range(150):
            store_letter(unit, b"")

    await backend.units.run(many)
    await backend.units.run(lambda unit: store_letter(unit, b"x" * 90_000))
    assert await stored_bytes(backend) <= SMALL.bytes_max
    assert len(await stored_bodies(backend)) < 20


async def test_dead_letters_expire_in_any_state(backend: Backend) -> None:
    first = await backend.units.run(lambda unit: store_letter(unit, b"first"))
    await backend.units.run(
        lambda unit: dead_letters.store_outcome(
            unit.connection, first, "retried", unit.clock.real(), "retried on events"
        )
    )
    await backend.units.run(lambda unit: store_letter(unit, b"second"))
    backend.clock.advance(days=20)
    await backend.units.run(lambda unit: store_letter(unit, b"third"))
    backend.clock.advance(days=11)
    retention = Retention(age=timedelta(days=30))
    count = await backend.units.run(lambda unit: drop_dead_letters(unit, 100, retention=retention))
    assert count == 2
    assert await stored_bodies(backend) == [b"third"]
    assert await backend.rows("SELECT count(*) FROM dead_letters") == [(1,)]
    assert await stored_bytes(backend) < 2 * ROW_BYTES


async def test_dropped_dead_letter_has_no_body(tmp_path: Path, profile: Backends | None) -> None:
    async with opened(tmp_path / "data", profile) as world:
        answer = await world.client.post("/v1/events", json={"id": "1", "type": "nonsense"})
        letter = answer.json()["dead_letter"]
        assert (await world.client.post(f"/v1/deadletters/{letter}/drop")).json()["state"] == "dropped"
        shown = (await world.client.get(f"/v1/deadletters/{letter}")).json()
        assert (shown["body"], shown["bytes"], shown["state"]) == ("", 0, "dropped")
        assert await world.rows("SELECT bytes FROM dead_letter_totals") == [(ROW_BYTES,)]


async def test_posts_of_robots_count_toward_the_bytes_of_their_source(tmp_path: Path, profile: Backends | None) -> None:
    bytes_max = 1024 * 1024
    async with opened(tmp_path / "data", profile, deadletter_bytes_max=bytes_max) as world:  # type: ignore[arg-type]
        for n in range(12):
            post = {"email": f"r{n}@acme.example", "_hp": "x", **{f"f{i}": "y" * 2_000 for i in range(100)}}
            assert (await world.client.post("/v1/forms/demo-request", json=post)).status_code == 202
        rows = await world.rows("SELECT sum(length(body)), count(*) FROM dead_letters WHERE error = 'honeypot'")
        assert 0 < rows[0][0] <= bytes_max
        assert 0 < rows[0][1] < 12


async def test_list_continues_after_its_cursor(tmp_path: Path, profile: Backends | None) -> None:
    def many(unit: Unit) -> None:
        for n in range(1_203):
            store_letter(unit, b"%d" % n, retention=dead_letters.DEFAULT)

    async with opened(tmp_path / "data", profile) as world:
        await world.system.units.run(many)
        ids: list[str] = []
        cursor = None
        while True:
            params = {"limit": "500"} | ({"cursor": cursor} if cursor else {})
            page = (await world.client.get("/v1/deadletters", params=params)).json()
            ids += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert len(ids) == len(set(ids)) == 1_203
        answer = await world.client.get("/v1/deadletters", params={"cursor": "x"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:cursor")


@pytest.mark.parametrize("size", [10, RECORD_BYTES_MAX])
async def test_retry_of_a_rejected_record_publishes_it_if_small_enough(
    tmp_path: Path, profile: Backends | None, size: int
) -> None:
    async with opened(tmp_path / "data", profile) as world:

        def store_rejected(unit: Unit) -> str:
            emitting(["e1"], "lead")(unit)
            body = unit.rows.pop().body
            body += b" " * max(0, size - len(body) + 1)
            more = {"consumer": PUBLISHER, "origin": "leads/0/1", "key": "lead", "retention": dead_letters.DEFAULT}
            return store_letter(unit, body, "e1", **more)

        letter = await world.system.units.run(store_rejected)
        answer = await world.client.post(f"/v1/deadletters/{letter}/retry")
        assert answer.status_code == (200 if size == 10 else 413), answer.text
        await world.system.settle()
        rows = await world.rows("SELECT 1 FROM reporting_history WHERE id = 'e1'")
        assert bool(rows) is (size == 10)


async def test_list_reads_no_bodies(backend: Backend) -> None:
    await backend.units.run(lambda unit: store_letter(unit, b"12345"))
    [summary] = await backend.reads(dead_letters.find_by_state)
    assert summary.bytes == 5
    assert not hasattr(summary, "body")
