"""The metric, `/readyz`, doctor and verify report a record that has waited long for its publication."""

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


async def emit_unpublished(world: OpenedSystem) -> Distributed:
    """Emit a record that the broker does not accept."""
    system = world.system
    assert isinstance(system, Distributed)
    system.publisher._sender = Silent()
    await system.units.run(emitting(["e1"], "lead"))
    return system


async def readiness(world: OpenedSystem) -> tuple[int, dict[str, str], str]:
    """Return the status, checks and warnings of `/readyz` after a step of the publisher."""
    assert isinstance(world.system, Distributed)
    with pytest.raises(BrokerError):
        await world.system.publisher.step()
    answer = await world.client.get("/readyz")
    report = answer.json()
    return answer.status_code, report["checks"], " ".join(report["warnings"])


@pytest.mark.parametrize("services", [("gateway", "router"), ("gateway",)])
async def test_readiness_follows_the_age_of_the_oldest_record(
    tmp_path: Path, backends: Backends, services: tuple[str, ...]
) -> None:
    async with opened(tmp_path / "data", backends, only=services) as world:
        await emit_unpublished(world)
        assert "waited" not in (await readiness(world))[2]
        world.clock.advance(seconds=31)
        status, _, warnings = await readiness(world)
        assert status == 200
        assert "unpublished record of leads/" in warnings
        assert "has waited 31 s" in warnings
        world.clock.advance(seconds=90)
        status, checks, warnings = await readiness(world)
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
    """Return the topic and partition of the oldest record."""
    assert isinstance(world.system, Distributed)
    places: list[Place] = list(world.system.publisher.oldest)
    assert [topic for topic, _ in places] == [topics.LEADS]
    return f"{places[0][0]}/{places[0][1]}"


async def test_doctor_and_verify_tell_of_it(
    tmp_path: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firsthour.operations.drain.WAIT_SECONDS", 0.1)
    async with opened(tmp_path / "data", backends) as world:
        await emit_unpublished(world)
        seen = []
        for seconds in (1, 40, 100):
            world.clock.advance(seconds=seconds)
            items = (await world.client.post("/v1/doctor")).json()["items"]
            seen += [one["verdict"] for one in items if one["what"] == "publishing"]
        assert seen == ["ok", "warning", "wrong"]
        report = (await world.client.post("/v1/verify")).json()
        assert not report["ok"]
        assert any("has waited 141 s" in line for line in report["behind"])
