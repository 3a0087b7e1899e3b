"""Slack limits every call and the mail server refuses for now: later every page arrives once."""

import pytest

from tests.fakes.slack import SlackFault
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.test_delivery import asked_by_score

pytestmark = pytest.mark.slow

LADDER = {"ladder": [{"at": "0m", "page": "owner", "by": ["slack", "email"]}]}
PATIENT = {"hot": {"touch_within": "5h"}, "warm": {"touch_within": "9h"}}


@pytest.mark.parametrize("wait", ["1e9", "soon", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_every_page_arrives_once_after_a_rate_limit(open_world: OpenWorld, wait: str) -> None:
    world = await open_world(agreement={"response": LADDER | PATIENT}, team=reps(pool=["ana"]))
    headers = {"Date": "Tue, 01 Dec 2026 09:00:00 GMT", "Retry-After": wait}
    world.slack.fail(SlackFault("answer", None, 429, headers, "{}"))
    world.smtp.refuse(451, times=None)
    await asked_by_score(world, "warm0@prospect.example", "warm1@prospect.example")
    for n in range(2):
        await world.submit_form(email=f"hot{n}@prospect.example")
    await world.wait(minutes=6)
    assert (world.slack.messages, world.smtp.mails) == ([], [])
    warnings = (await world.get("/readyz"))["warnings"]
    assert any("Slack: rate limit reached" in line for line in warnings)

    world.slack.recover()
    world.smtp.recover()
    await world.wait(minutes=6)
    heads = [message["text"] for message in world.slack.messages] + [m.message["subject"] for m in world.smtp.mails]
    told = [name for head in heads for name in ("hot0", "hot1", "warm0", "warm1") if name in head]
    assert sorted(told) == ["hot0", "hot1", "warm0", "warm1"], "each once"
    assert {page["state"] for page in await world.pages()} == {"sent"}
