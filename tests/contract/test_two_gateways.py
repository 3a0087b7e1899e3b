"""Two gateways at once: what one answers holds for the other, and a lead's records are in the order of the commits."""

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
class Two:
    """A process with everything, and another with the gateway alone."""

    place: Installation
    whole: DistributedHarness
    other: DistributedHarness
    gateways: tuple[AsyncClient, AsyncClient]

    async def lead(self, name: str) -> str:
        """A new lead, owned by somebody; its id."""
        form = {"email": f"{name}@prospect.example"}
        assert (await self.gateways[1].post("/v1/forms/demo-request", json=form)).status_code == 202
        await self.settle()
        (found,) = (await self.gateways[0].get("/v1/leads", params=form)).json()["items"]
        assert found["status"] == "assigned"
        return str(found["id"])

    async def settle(self) -> None:
        """Everything published, whoever does it, and heard."""
        await self.other.system.publisher.step()
        for place, end in (await kafka_admin.ends(self.place.settings())).items():
            for log in self.whole.system.logs:
                log.note(place, end)
        await self.whole.system.settle()

    async def key_of(self, rep: str) -> dict[str, str]:
        """The header with which this rep asks."""
        made = await self.gateways[0].post("/v1/keys", json={"role": "sales", "name": rep, "rep": rep})
        for process in (self.whole, self.other):
            await process.system.runners["runtime.keys"].step()
        return {"authorization": f"Bearer {made.json()['key']}"}

    async def at_once(
        self,
        lead: str,
        *asked: tuple[str, dict[str, Any]],
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[Response]:
        """Each of these through both gateways, all at the same moment."""
        sent = {**(headers or {}), **({"idempotency-key": key} if key else {})}
        work = [
            gateway.post(f"/v1/leads/{lead}/{action}", json=body, headers=sent)
            for action, body in asked
            for gateway in self.gateways
        ]
        return list(await asyncio.gather(*work))

    async def routed(self, lead: str) -> list[LeadEvent]:
        """What the router said of this lead, in the order in which it stands on the topic."""
        partition, after = partition_of(lead, self.place.partitions), 0
        (log,) = (log for log in self.whole.system.logs if log.service == "reporting")
        after = self.place.first_positions[topics.ROUTES, partition]
        end = (await kafka_admin.ends(self.place.settings()))[topics.ROUTES, partition]
        found: list[LeadEvent] = []
        while after < end:
            await log.ready(topics.ROUTES, partition, after)
            batch = await log.fetch(topics.ROUTES, partition, after, 500)
            after = batch[-1].position
            found += [record.event for record in batch if record.key == lead and isinstance(record.event, LeadEvent)]
        return found


@asynccontextmanager
async def opened(backends: Backends, directory: Path) -> AsyncIterator[Two]:
    for name in sample_config.TEXTS:
        sample_config.write(directory / "config", name)
    clock = HandClock()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(backends.installation())

        async def process(name: str, *wanted: str) -> DistributedHarness:
            given = place.settings(data_dir=directory / name, config_dir=directory / "config", admin_key=ADMIN)
            channels = {"slack": InboxChannel(lambda message: None), "email": InboxChannel(lambda message: None)}
            made = await open_harness(given, clock, channels, *([wanted] if wanted else []), files=directory / "config")
            stack.push_async_callback(made.close)
            return made

        whole, other = await process("one"), await process("two", "gateway")
        clients = [await stack.enter_async_context(client_of(one.system)) for one in (whole, other)]
        yield Two(place, whole, other, (clients[0], clients[1]))


@pytest.fixture
async def two(backends: Backends, tmp_path: Path) -> AsyncIterator[Two]:
    async with opened(backends, tmp_path) as made:
        yield made


def in_order(told: list[LeadEvent]) -> None:
    """Each move begins where the one before ended, and versions count up."""
    versions = [event.version for event in told]
    assert versions == sorted(set(versions))
    for before, event in pairwise(told):
        assert event.was == before.status


@pytest.mark.parametrize(("action", "body"), [("accept", {}), ("reject", {"reason": "no-time"}), ("touch", SENT)])
async def test_a_command_sent_to_both_at_once_under_one_idempotency_key_is_applied_once(
    two: Two, action: str, body: dict[str, Any]
) -> None:
    for n in range(LEADS):
        lead = await two.lead(f"person{n}")
        before = len(await two.routed(lead))
        one, other = await two.at_once(lead, (action, body), key=f"press {n}")
        assert (one.status_code, one.content) == (200, other.content)
        assert [answer.headers.get("idempotent-replayed") for answer in (one, other)].count("true") == 1
        await two.settle()
        new = [event.TYPE for event in (await two.routed(lead))[before:]]
        assert len(new) == len(set(new)) > 0, new


@pytest.mark.parametrize(("action", "body"), [("accept", {}), ("reject", {"reason": "no-time"})])
async def test_a_button_pressed_in_two_windows_at_once_is_applied_once(
    two: Two, action: str, body: dict[str, Any]
) -> None:
    for n in range(LEADS):
        lead = await two.lead(f"person{n}")
        before = len(await two.routed(lead))
        owner = (await two.gateways[0].get(f"/v1/leads/{lead}")).json()["owner"]["id"]
        answers = await two.at_once(lead, (action, body), headers=await two.key_of(owner))
        codes = sorted(answer.status_code for answer in answers)
        assert codes[0] == 200, [answer.text for answer in answers]
        assert set(codes) <= {200, 403, 409}, "the one who was late is told how it stands, or that it is not theirs"
        await two.settle()
        told = await two.routed(lead)
        in_order(told)
        new = [event.TYPE for event in told[before:]]
        assert len(new) == len(set(new)) > 0, new


async def test_different_commands_on_one_lead_stand_on_the_topic_in_the_order_of_their_commits(two: Two) -> None:
    lead = await two.lead("person")
    everything: list[tuple[str, dict[str, Any]]] = [
        *(("accept", {}), ("touch", SENT), ("recycle", {"reason": "stalled"})),
        *(("reject", {"reason": "no-time"}), ("assign", {"rep": "bo", "force": True})),
    ]
    for _ in range(4):
        answers = await two.at_once(lead, *everything)
        assert {answer.status_code for answer in answers} <= {200, 403, 409}, [answer.text for answer in answers]
    await two.settle()
    told = await two.routed(lead)
    in_order(told)
    stands = (await two.gateways[1].get(f"/v1/leads/{lead}")).json()
    assert (stands["status"], stands["epoch"]) == (told[-1].status, told[-1].epoch)
