"""A rep acts on a page in Slack: buttons, dialogs and commands, and what a wrong click gets."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from firsthour.runtime.http.client import Response
from tests.fakes.slack_clicks import SlackRequest, buttons_of, command, pressed, signed, submitted
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"


async def send(world: World, body: bytes | SlackRequest, path: str = "/slack/interactions") -> Response:
    """Send a request as Slack does, and settle."""
    request = body if isinstance(body, SlackRequest) else signed(body, world.clock.real())
    answer = await world.http.post(path, content=request.body, headers=request.headers)
    await world.settle()
    return answer


async def click(world: World, action: str, user: str = "U0ANA", option: int = 0) -> Response:
    """Click a button of the newest message."""
    return await send(world, pressed(world.slack.messages[-1], action, user, world.slack.response_url, option))


async def told(world: World, number: int = 1) -> str:
    """Return the newest text that only the person who clicked sees."""
    async with asyncio.timeout(30):
        while len(world.slack.replies) < number:
            await asyncio.sleep(0.01)
    reply = world.slack.replies[-1]
    assert reply["response_type"] == "ephemeral"
    return str(reply["text"])


async def run(world: World, name: str, text: str = "", user: str = "U0ANA") -> str:
    """Return the answer to a slash command."""
    answer = await send(world, command(name, text, user), "/slack/commands")
    assert answer.status_code == 200
    reply: dict[str, Any] = answer.json()
    assert reply["response_type"] == "ephemeral"
    return str(reply["text"])


# --- buttons ----------------------------------------------------------------------------------------------------


async def test_rep_reaches_the_lead_from_the_message(world: World) -> None:
    await world.submit_form(email=CTO)
    assert buttons_of(world.slack.messages[0]) == ["accept", "reached", "no_answer", "reject", "snooze", "hand_over"]
    await world.wait(minutes=5)
    answer = await click(world, "reached")
    assert (answer.status_code, answer.content) == (200, b"")
    assert await world.status_of(CTO) == "working"
    await world.wait(hours=2)
    assert world.slack_recipients == ["ana"]
    assert "you reached them" in await told(world)


async def test_accept_in_slack_ends_reminders_and_the_manager_is_still_paged(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "accept")
    assert await world.status_of(CTO) == "accepted"
    await world.wait(minutes=20)
    assert world.slack_recipients == ["ana", "max"]


@pytest.mark.both_profiles
async def test_rejection_asks_for_a_reason_and_a_note(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "reject")
    [view] = world.slack.views
    assert [option["value"] for option in view["blocks"][0]["element"]["options"]][:2] == ["not-now", "wrong-person"]
    answer = await send(world, submitted(view, "no-time", "U0ANA", "on a train"))
    assert answer.content == b""
    assert await world.owner_of(CTO) == "bo"
    assert world.slack_recipients == ["ana", "bo"]


@pytest.mark.both_profiles
async def test_lead_is_handed_over_to_a_member_of_the_pool(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "hand_over")
    [view] = world.slack.views
    assert [option["value"] for option in view["blocks"][0]["element"]["options"]] == ["bo", "cy"]
    await send(world, submitted(view, "cy", "U0ANA"))
    assert await world.owner_of(CTO) == "cy"


async def test_reader_of_a_channel_takes_the_lead_over(open_world: OpenWorld) -> None:
    ladder = [{"at": "0m", "page": "owner", "by": ["slack"]}, {"at": "5m", "page": "channel", "to": "#sales"}]
    full = {"id": "bo", "capacity": {"open": 0}}
    world = await open_world(agreement={"response": {"ladder": ladder}}, team=reps(full))
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    assert buttons_of(world.slack.messages[-1]) == ["accept", "reached", "no_answer"]
    await click(world, "accept", user="U0BO")
    assert await told(world) == "The lead is yours now."
    assert await world.owner_of(CTO) == "bo"


@pytest.mark.both_profiles
async def test_snooze_moves_the_next_reminder(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "snooze", option=0)
    await world.wait(minutes=14)
    assert world.slack_recipients == ["ana"]
    await world.wait(minutes=1)
    assert world.slack_recipients == ["ana", "ana"]


# --- wrong clicks -----------------------------------------------------------------------------------------------


async def test_forged_stale_and_unsigned_requests_are_refused(world: World) -> None:
    await world.submit_form(email=CTO)
    body, now = pressed(world.slack.messages[0], "accept", "U0ANA", world.slack.response_url), world.clock.real()
    wrong = [
        signed(body, now, "another secret"),
        signed(body, now - timedelta(minutes=6)),
        signed(body, now + timedelta(minutes=6)),
        SlackRequest(signed(body, now).headers, body.replace(b"U0ANA", b"U0BO")),
        SlackRequest({"content-type": "application/x-www-form-urlencoded"}, body),
    ]
    for path in ("/slack/interactions", "/slack/commands"):
        assert [(await send(world, request, path)).status_code for request in wrong] == [401] * len(wrong)
    assert await world.status_of(CTO) == "assigned"


async def test_click_of_another_person_changes_nothing_and_says_why(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "accept", user="U0BO")
    assert "neither its owner nor their manager" in await told(world)
    await click(world, "accept", user="USTRANGER")
    assert "not in team.yaml" in await told(world, 2)
    assert await world.status_of(CTO) == "assigned"


@pytest.mark.both_profiles
async def test_replayed_click_counts_once_and_says_so(world: World) -> None:
    await world.submit_form(email=CTO)
    request = signed(pressed(world.slack.messages[0], "snooze", "U0ANA", world.slack.response_url), world.clock.real())
    await send(world, request)
    await told(world)
    await send(world, request)
    assert "received before" in await told(world, 2)


async def test_click_of_an_ended_assignment_says_who_has_the_lead(world: World) -> None:
    await world.submit_form(email=CTO)
    first = world.slack.messages[0]
    await click(world, "reject")
    await send(world, submitted(world.slack.views[0], "no-time", "U0ANA"))
    await send(world, pressed(first, "accept", "U0ANA", world.slack.response_url))
    assert "the lead is with Bo Lind" in await told(world)
    late = await send(world, submitted(world.slack.views[0], "not-now", "U0ANA"))
    assert "the lead is with Bo Lind" in late.text
    assert await world.status_of(CTO) == "assigned"


async def test_value_of_a_button_holds_nothing_of_the_lead(world: World) -> None:
    await world.submit_form(email=CTO)
    [lead] = await world.leads()
    values = str([block for block in world.slack.messages[0]["blocks"] if block["type"] == "actions"])
    assert lead["id"] not in values
    assert "prospect" not in values


# --- commands ---------------------------------------------------------------------------------------------------


@pytest.mark.both_profiles
async def test_rep_goes_away_and_comes_back(world: World) -> None:
    assert "until 2026-12-01 11:00 UTC" in await run(world, "/away", "2h")
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "bo"
    assert "You get leads again" in await run(world, "/back")
    await world.submit_form(email="second@prospect.example")
    await world.submit_form(email="third@prospect.example")
    assert await world.owner_of("third@prospect.example") == "ana"


@pytest.mark.both_profiles
async def test_replayed_command_counts_once_and_says_so(world: World) -> None:
    away, back = (signed(command(name, "", "U0ANA"), world.clock.real()) for name in ("/away", "/back"))
    for request in (away, back):
        assert (await send(world, request, "/slack/commands")).status_code == 200
    appended = await world.appended("actions")
    for request in (away, back):
        assert "received before" in (await send(world, request, "/slack/commands")).text
    assert await world.appended("actions") == appended
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana"


@pytest.mark.both_profiles
async def test_command_lists_the_leads_that_wait(world: World) -> None:
    assert "No lead of yours waits" in await run(world, "/leads")
    await world.submit_form(email=CTO, name="Ann <!channel>")
    text = await run(world, "/leads")
    assert "Ann &lt;!channel&gt;" in text
    assert "1 h left" in text
    await click(world, "no_answer")
    assert "1 more in progress" in await run(world, "/leads")


async def test_command_that_is_not_understood_changes_nothing(world: World) -> None:
    assert "write `/away`" in await run(world, "/away", "tomorrow-ish")
    assert "not in team.yaml" in await run(world, "/away", user="USTRANGER")
    assert "use /away, /back or /leads" in await run(world, "/unknown")
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana"


async def test_dialog_without_a_choice_is_not_opened(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(pool=["ana"]))
    await world.submit_form(email=CTO)
    await click(world, "hand_over")
    assert "has no other member" in await told(world)
    assert world.slack.views == []


async def test_unusual_requests_of_slack_are_answered(world: World) -> None:
    for payload in (
        '{"type": "view_closed", "user": {"id": "U0ANA"}}',
        '{"type": "block_actions", "user": {"id": "U"}}',
    ):
        body = urlencode({"payload": payload}).encode()
        assert (await send(world, body)).status_code == 200
    for body in (b"", b"payload=", b"payload={", b"payload=%ff", urlencode({"payload": "[]"}).encode()):
        assert (await send(world, body)).status_code == 400
        assert (await send(world, body, "/slack/commands")).status_code == 400
    assert (await send(world, b"x" * 300_000)).status_code == 413
    assert (await world.http.get("/slack/interactions")).status_code == 405


def with_field(body: bytes, path: tuple[str | int, ...], value: Any) -> bytes:
    """Return the body of an interaction with another value in this field."""
    payload = json.loads(parse_qs(body.decode())["payload"][0])
    at = payload
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return urlencode({"payload": json.dumps(payload)}).encode()


HOSTILE: tuple[Any, ...] = (None, True, -1, 1e300, "x" * 4_000, [], [None], {"a": None}, [[[[]]]])


@pytest.mark.parametrize("path", [("user",), ("user", "id"), ("actions",), ("trigger_id",), ("view",)])
async def test_click_that_cannot_be_read_changes_nothing_and_says_so(world: World, path: tuple[str | int, ...]) -> None:
    await world.submit_form(email=CTO)
    body = pressed(world.slack.messages[-1], "accept", "U0ANA", world.slack.response_url)
    hostile = [value for value in HOSTILE if (path, value) not in ((("actions",), []), (("view",), {"a": None}))]
    for number, value in enumerate(hostile, 1):
        answer = await send(world, with_field(body, path, value))
        assert (answer.status_code, answer.content) == (200, b""), value
        assert "cannot read this click" in await told(world, number), value
    assert await world.status_of(CTO) == "assigned"


async def test_button_of_a_newer_release_says_that_it_is_not_known(world: World) -> None:
    await world.submit_form(email=CTO)
    body = pressed(world.slack.messages[-1], "accept", "U0ANA", world.slack.response_url)
    await send(world, with_field(body, ("actions", 0, "action_id"), "firsthour.sing"))
    assert "cannot read this click" in await told(world)


@pytest.mark.parametrize("path", [("user",), ("view", "id"), ("view", "state"), ("view", "state", "values", "note")])
async def test_dialog_that_cannot_be_read_changes_nothing_and_says_so(
    world: World, path: tuple[str | int, ...]
) -> None:
    await world.submit_form(email=CTO)
    await click(world, "reject")
    body = submitted(world.slack.views[-1], "no-time", "U0ANA", "on a train")
    for value in (None, -1, "x" * 4_000, [None]):
        answer = await send(world, with_field(body, path, value))
        assert answer.status_code == 200
        assert "cannot read this click" in answer.json()["view"]["blocks"][0]["text"]["text"], value
    assert await world.status_of(CTO) == "assigned"
