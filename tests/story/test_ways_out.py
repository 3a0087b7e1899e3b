"""Pages and changes of leads over the channels of the agreement."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.services import FakeService
from tests.story.conftest import OpenWorld

CTO = "cto@prospect.example"


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FakeService]:
    async with FakeService() as fake:
        yield fake


async def test_page_leaves_over_a_channel_of_the_agreement(
    open_world: OpenWorld, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = [{"at": "0m", "page": "owner", "by": ["teams", "email"]}]
    channels = {"teams": {"kind": "teams", "url": {"env": "TEAMS_URL"}}}
    world = await open_world(agreement={"channels": channels, "response": {"ladder": ladder}})
    await world.submit_form(email="early@prospect.example")
    assert world.mail_recipients == ["ana"], "the variable is not set, so the page goes by mail"
    [warning] = [line for line in (await world.get("/readyz"))["warnings"] if "nothing is sent over teams" in line]
    assert "the environment variable TEAMS_URL is not set" in warning

    monkeypatch.setenv("TEAMS_URL", f"{service.url}/flow?sig=1")
    await world.restart()
    await world.submit_form(email=CTO)
    assert len(service.calls) == 1
    [page] = await world.pages(CTO)
    assert (page["channel"], page["state"]) == ("teams", "sent")
