"""`/openapi.json` is what the service does: bodies that it allows are taken, answers are as it says, none is a 500."""

from pathlib import Path

import pytest
from schemathesis import GenerationMode

from tests.backends import Backends
from tests.contract.described import ROLES, Described, described
from tests.contract.systems import OpenedSystem, opened

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the services do, beside the test
PEOPLE = ("ann", "bo", "cy")


async def of(world: OpenedSystem) -> Described:
    for person in PEOPLE:
        assert (await world.asks(person)).status_code == 202
    await world.system.settle()
    return await described(world.client, [(await world.lead(person))["id"] for person in PEOPLE])


async def test_some_requests_of_the_description_are_answered_as_described(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as world:
        found = await of(world)
        await found.hold("admin", GenerationMode.POSITIVE, 2)
        await found.hold("sales", GenerationMode.NEGATIVE, 1)
        assert found.wrong == {}, found
        assert found.answers > len(found.spec["paths"])


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("profile", ["embedded", "distributed"], indirect=True)
@pytest.mark.parametrize("role", ROLES)
async def test_requests_of_the_description_are_answered_as_described(
    tmp_path: Path, profile: Backends | None, role: str
) -> None:
    async with opened(tmp_path / "data", profile) as world:
        found = await of(world)
        await found.hold(role, GenerationMode.POSITIVE, 100 if role == "admin" else 30)
        await found.hold(role, GenerationMode.NEGATIVE, 50 if role == "admin" else 15)
        assert found.wrong == {}, found
