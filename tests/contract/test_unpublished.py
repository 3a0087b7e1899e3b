"""A record that is not published for long is told by the metric, by `/readyz`, by doctor and by verify."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from firsthour.bootstrap.distributed import Distributed
from firsthour.runtime.eventlog.producer import BrokerError
from firsthour.runtime.storage.records import Place
from schemas import topics
from tests.backends import Backends
from tests.contract.conftest import emitting
from tests.contract.systems import OpenedSystem, opened


class Silent:
    """Stands where the broker does, and fails."""

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        raise BrokerError("no leader")


async def left(world: OpenedSystem) -> Distributed:
    """One record was emitted and could not be published."""
    system = world.system
    assert isinstance(system, Distributed)
    system.publisher._sender = Silent()
    await system.units.run(emitting(["e1"], "lead"))
    return system


async def looked_at(world: OpenedSystem) -> tuple[int, dict[str, str], str]:
    """The answer of `/readyz`, once the outbox has been looked at: status, checks, warnings."""
    assert isinstance(world.system, Distributed)
    with pytest.raises(BrokerError):
        await world.system.publisher.step()
    answer = await world.client.get("/readyz")
    said = answer.json()
    return answer.status_code, said["checks"], " ".join(said["warnings"])


@pytest.mark.parametrize("services", [("gateway", "router"), ("gateway",)])
async def test_readiness_follows_the_age_of_the_oldest_record(
    tmp_path: Path, backends: Backends, services: tuple[str, ...]
) -> None:
    async with opened(tmp_path / "data", backends, only=services) as world:
        await left(world)
        assert "waited" not in (await looked_at(world))[2]
        world.clock.advance(seconds=31)
        status, _, warnings = await looked_at(world)
        assert status == 200
        assert "unpublished record of leads/" in warnings
        assert "has waited 31 s" in warnings
        world.clock.advance(seconds=90)
        status, checks, warnings = await looked_at(world)
        assert "has waited 121 s" in warnings
        if services == ("gateway",):
            assert (status, "publishing" in checks) == (200, False), (
                "it takes events in as long as Kafka or its spool does"
            )
        else:
            assert (status, checks["publishing"]) == (
                503,
                f"the oldest unpublished record of {name(world)} has waited 121 s",
            )
        metrics = (await world.client.get("/metrics")).text
        assert "outbox_oldest_seconds 121.0" in metrics


def name(world: OpenedSystem) -> str:
    """The place of the record."""
    assert isinstance(world.system, Distributed)
    places: list[Place] = list(world.system.publisher.oldest)
    assert [topic for topic, _ in places] == [topics.LEADS]
    return f"{places[0][0]}/{places[0][1]}"


async def test_doctor_and_verify_tell_of_it(
    tmp_path: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firsthour.operations.drain.WAIT_SECONDS", 0.1)
    async with opened(tmp_path / "data", backends) as world:
        await left(world)
        seen = []
        for seconds in (1, 40, 100):
            world.clock.advance(seconds=seconds)
            found = (await world.client.post("/v1/doctor")).json()["items"]
            seen += [one["verdict"] for one in found if one["what"] == "publishing"]
        assert seen == ["ok", "warning", "wrong"]
        told = (await world.client.post("/v1/verify")).json()
        assert not told["ok"]
        assert any("has waited 141 s" in line for line in told["behind"])
