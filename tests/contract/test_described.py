"""`/openapi.json` is true: allowed bodies are accepted, answers are as described, and none is a 500."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from schemathesis import GenerationMode

from tests.backends import Backends
from tests.contract.described import ROLES, ApiDescription, describe
from tests.contract.systems import OpenedSystem, opened

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the services do, beside the test
PEOPLE = ("ann", "bo", "cy")


async def description_of(world: OpenedSystem) -> ApiDescription:
    for person in PEOPLE:
        assert (await world.asks(person)).status_code == 202
    await world.system.settle()
    return await describe(world.client, [(await world.lead(person))["id"] for person in PEOPLE])


@asynccontextmanager
async def working(world: OpenedSystem) -> AsyncIterator[None]:
    """Handle what the requests post: `/v1/verify` waits up to 30 s for services that are behind."""

    async def work() -> None:
        while True:
            await world.system.settle()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.timeout(300)
async def test_a_thousand_generated_requests_are_answered_as_described(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        description = await description_of(world)
        async with working(world):
            await description.check("admin", GenerationMode.POSITIVE, 16)
            await description.check("sales", GenerationMode.NEGATIVE, 8)
        assert description.faults == {}, description
        assert description.answers >= 1_000


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("profile", ["embedded", "distributed"], indirect=True)
@pytest.mark.parametrize("role", ROLES)
async def test_generated_requests_are_answered_as_described(
    tmp_path: Path, profile: Backends | None, role: str
) -> None:
    async with opened(tmp_path / "data", profile) as world:
        description = await description_of(world)
        async with working(world):
            await description.check(role, GenerationMode.POSITIVE, 100 if role == "admin" else 30)
            await description.check(role, GenerationMode.NEGATIVE, 50 if role == "admin" else 15)
        assert description.faults == {}, description
