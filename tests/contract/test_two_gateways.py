"""Two gateways: an answer of one is valid for the other, and records of a lead are in the order of the commits."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.http.client import AsyncClient, Response
from firsthour.runtime.storage.records import partition_of
from schemas import topics
from schemas.events.routes import LeadEvent
from services.notifier.channels.inbox import InboxChannel
from tests.backends import Backends, Installation
from tests.contract.systems import ADMIN, client_of
from tests.distributed_harness import DistributedHarness, open_harness
from tests.hand_clock import HandClock
from tests.story import sample_config

LEADS = 6
SENT = {"channel": "phone", "answered": True}


@dataclass
class TwoGateways:
    """A process with all services, and another with the gateway only."""

    place: Installation
    whole: DistributedHarness
    other: DistributedHarness
    gateways: tuple[AsyncClient, AsyncClient]

    async def lead(self, name: str) -> str:
        """Create a lead with an owner. Return its id."""
        form = {"email": f"{name}@prospect.example"}
        assert (await self.gateways[1].post("/v1/forms/demo-request", json=form)).status_code == 202
        await self.settle()
        (lead,) = (await self.gateways[0].get("/v1/leads", params=form)).json()["items"]
        assert lead["status"] == "assigned"
        return str(lead["id"])

    async def settle(self) -> None:
        """Wait until every record is published and handled."""
        await self.other.system.publisher.step()
        for partition, end in (await kafka_admin.ends(self.place.settings())).items():
            for log in self.whole.system.logs:
                log.note(partition, end)
        await self.whole.system.settle()

    async def key_of(self, rep: str) -> dict[str, str]:
        """Return the authorization header of this rep."""
        answer = await self.gateways[0].post("/v1/keys", json={"role": "sales", "name": rep, "rep": rep})
        for process in (self.whole, self.other):
            await process.system.runners["runtime.keys"].step()
        return {"authorization": f"Bearer {answer.json()['key']}"}

    async def at_once(
        self,
        lead: str,
        *commands: tuple[str, dict[str, Any]],
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[Response]:
        """Send each command through both gateways, all at once."""
        sent = {**(headers or {}), **({"idempotency-key": key} if key else {})}
        work = [
            gateway.post(f"/v1/leads/{lead}/{action}", json=body, headers=sent)
            for action, body in commands
            for gateway in self.gateways
        ]
        return list(await asyncio.gather(*work))

    async def routed(self, lead: str) -> list[LeadEvent]:
        """Return the records of the router about this lead, in the order of the topic."""
        partition, after = partition_of(lead, self.place.partitions), 0
        (log,) = (log for log in self.whole.system.logs if log.service == "reporting")
        after = self.place.first_positions[topics.ROUTES, partition]
        end = (await kafka_admin.ends(self.place.settings()))[topics.ROUTES, partition]
        events: list[LeadEvent] = []
        while after < end:
            await log.ready(topics.ROUTES, partition, after)
            batch = await log.fetch(topics.ROUTES, partition, after, 500)
            after = batch[-1].position
            events += [record.event for record in batch if record.key == lead and isinstance(record.event, LeadEvent)]
        return events


@asynccontextmanager
async def opened(backends: Backends, directory: Path) -> AsyncIterator[TwoGateways]:
    for name in sample_config.TEXTS:
        sample_config.write(directory / "config", name)
    clock = HandClock()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(backends.installation())

        async def process(name: str, *wanted: str) -> DistributedHarness:
            settings = place.settings(data_dir=directory / name, config_dir=directory / "config", admin_key=ADMIN)
            channels = {"slack": InboxChannel(lambda message: None), "email": InboxChannel(lambda message: None)}
            harness = await open_harness(
                settings, clock, channels, *([wanted] if wanted else []), files=directory / "config"
            )
            stack.push_async_callback(harness.close)
            return harness

        whole, other = await process("one"), await process("two", "gateway")
        clients = [await stack.enter_async_context(client_of(one.system)) for one in (whole, other)]
        yield TwoGateways(place, whole, other, (clients[0], clients[1]))


@pytest.fixture
async def two(backends: Backends, tmp_path: Path) -> AsyncIterator[TwoGateways]:
    async with opened(backends, tmp_path) as gateways:
        yield gateways


def assert_in_order(events: list[LeadEvent]) -> None:
    """Assert that each event begins with the status of the previous one, and that versions increase."""
    versions = [event.version for event in events]
    assert versions == sorted(set(versions))
    for before, event in pairwise(events):
        assert event.was == before.status


@pytest.mark.parametrize(("action", "body"), [("accept", {}), ("reject", {"reason": "no-time"}), ("touch", SENT)])
async def test_command_sent_to_both_under_one_idempotency_key_is_applied_once(
    two: TwoGateways, action: str, body: dict[str, Any]
) -> None:
    for n in range(LEADS):
        lead = await two.lead(f"person{n}")
        before = len(await two.routed(lead))
        one, other = await two.at_once(lead, (action, body), key=f"key {n}")
        assert (one.status_code, one.content) == (200, other.content)
        assert [answer.headers.get("idempotent-replayed") for answer in (one, other)].count("true") == 1
        await two.settle()
        new = [event.TYPE for event in (await two.routed(lead))[before:]]
        assert len(new) == len(set(new)) > 0, new


@pytest.mark.parametrize(("action", "body"), [("accept", {}), ("reject", {"reason": "no-time"})])
async def test_command_sent_to_both_without_a_key_is_applied_once(
    two: TwoGateways, action: str, body: dict[str, Any]
) -> None:
    for n in range(LEADS):
        lead = await two.lead(f"person{n}")
        before = len(await two.routed(lead))
        owner = (await two.gateways[0].get(f"/v1/leads/{lead}")).json()["owner"]["id"]
        answers = await two.at_once(lead, (action, body), headers=await two.key_of(owner))
        codes = sorted(answer.status_code for answer in answers)
        assert codes[0] == 200, [answer.text for answer in answers]
        assert set(codes) <= {200, 403, 409}, "the later command is refused with the current state, or is forbidden"
        await two.settle()
        events = await two.routed(lead)
        assert_in_order(events)
        new = [event.TYPE for event in events[before:]]
        assert len(new) == len(set(new)) > 0, new


async def test_records_of_concurrent_commands_are_in_the_order_of_their_commits(two: TwoGateways) -> None:
    lead = await two.lead("person")
    all_commands: list[tuple[str, dict[str, Any]]] = [
        *(("accept", {}), ("touch", SENT), ("recycle", {"reason": "stalled"})),
        *(("reject", {"reason": "no-time"}), ("assign", {"rep": "bo", "force": True})),
    ]
    for _ in range(4):
        answers = await two.at_once(lead, *all_commands)
        assert {answer.status_code for answer in answers} <= {200, 403, 409}, [answer.text for answer in answers]
    await two.settle()
    events = await two.routed(lead)
    assert_in_order(events)
    lead_view = (await two.gateways[1].get(f"/v1/leads/{lead}")).json()
    assert (lead_view["status"], lead_view["epoch"]) == (events[-1].status, events[-1].epoch)
