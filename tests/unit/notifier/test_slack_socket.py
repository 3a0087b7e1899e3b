"""Socket Mode: Slack's own client over a real socket, with the desk of the product behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs

from services.notifier.channels.slack_blocks import buttons
from services.notifier.channels.slack_web import SlackWeb
from services.notifier.context import NotifierContext
from services.notifier.domain.standing import ALL_ACTIONS
from services.notifier.slack_desk import SlackDesk
from services.notifier.slack_socket import PROBLEM, SlackSocket
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_clicks import command, pressed
from tests.fakes.slack_socket import FakeSlackSocket
from tests.hand_clock import HandClock

TOKEN = "xapp-1-A1-1-abc"


def desk_for(slack: FakeSlack) -> SlackDesk:
    """Return a desk whose team is empty: every person is a stranger to it."""
    config = SimpleNamespace(current=SimpleNamespace(team=SimpleNamespace(reps=[])))
    resources = cast(Any, SimpleNamespace(config=config, clock=HandClock()))
    return SlackDesk(resources, NotifierContext(()), SlackWeb("xoxb-1", slack.url))


@asynccontextmanager
async def running(slack: FakeSlack, socket: FakeSlackSocket, token: str = TOKEN) -> AsyncIterator[NotifierContext]:
    """Run the connection. Yield the context that holds its problems."""
    context = NotifierContext(())
    task = asyncio.create_task(SlackSocket(desk_for(slack), context, token, socket.url, ping_seconds=0.2).run())
    try:
        async with asyncio.timeout(60):
            yield context
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_clicks_and_commands_arrive_and_are_answered() -> None:
    message = {"text": "x", "blocks": [buttons("0f6b2f0e-7a53-5d0b-9e0e-6a1d0c9a4f11", ALL_ACTIONS)]}
    async with FakeSlack() as slack, FakeSlackSocket(TOKEN) as socket, running(slack, socket) as context:
        await socket.connected()
        click = json.loads(parse_qs(pressed(message, "accept", "U0ANA", slack.response_url).decode())["payload"][0])
        assert await socket.ask("interactive", click) == {"envelope_id": "envelope-1"}
        while not slack.replies:
            await asyncio.sleep(0.01)
        assert "not in team.yaml" in slack.replies[0]["text"]
        fields = {name: values[0] for name, values in parse_qs(command("/leads", "x", "U0ANA").decode()).items()}
        answer = await socket.ask("slash_commands", fields)
        assert answer["payload"]["response_type"] == "ephemeral"
        assert "not in team.yaml" in answer["payload"]["text"]
        assert await socket.ask("events_api", {}) == {"envelope_id": "envelope-3"}
        assert context.problems == {}


async def test_broken_connection_is_opened_again() -> None:
    async with FakeSlack() as slack, FakeSlackSocket(TOKEN) as socket, running(slack, socket):
        await socket.connected()
        socket.refresh()
        await socket.connected(2)
        socket.drop()
        await socket.connected(3)
        answer = await socket.ask("slash_commands", {"command": "/leads", "user_id": "U0ANA", "trigger_id": "1"})
        assert "not in team.yaml" in answer["payload"]["text"]


async def test_wrong_token_is_a_warning_with_its_remedy() -> None:
    async with FakeSlack() as slack, FakeSlackSocket(TOKEN) as socket, running(slack, socket, "xapp-wrong") as context:
        while PROBLEM not in context.problems:
            await asyncio.sleep(0.01)
        assert (
            "Slack refuses the app token (invalid_auth); check FIRSTHOUR_SLACK_APP_TOKEN" in context.problems[PROBLEM]
        )
