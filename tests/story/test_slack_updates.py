"""Messages in Slack follow their lead: every reader sees what became of it, and reminders stay in its thread."""

from typing import Any

import pytest

from tests.fakes.slack_clicks import buttons_of, pressed, signed, submitted
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"


def shown(world: World, user: str, number: int = 0) -> dict[str, Any]:
    """Return a message to this person as it is shown now."""
    return [message for (channel, _), message in world.slack.posted.items() if channel == f"D{user}"][number]


def text_of(message: dict[str, Any]) -> str:
    """Return the second block of a message: what became of the lead."""
    return str(message["blocks"][1].get("text", {}).get("text", ""))


async def click(world: World, user: str, action: str, number: int = 0) -> None:
    """Click a button of a message to this person."""
    body = pressed(shown(world, user, number), action, user, world.slack.response_url)
    request = signed(body, world.clock.real())
    await world.http.post("/slack/interactions", content=request.body, headers=request.headers)
    await world.settle()


async def choose(world: World, user: str, choice: str) -> None:
    """Send off the newest dialog."""
    request = signed(submitted(world.slack.views[-1], choice, user), world.clock.real())
    await world.http.post("/slack/interactions", content=request.body, headers=request.headers)
    await world.settle()


async def test_accepted_lead_is_shown_as_accepted_to_every_reader(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=20)
    await click(world, "U0ANA", "accept")
    assert text_of(shown(world, "U0ANA")) == "Accepted by Ana Gomez."
    assert text_of(shown(world, "U0MAX")) == "Accepted by Ana Gomez."
    assert "accept" not in buttons_of(shown(world, "U0ANA"))
    assert "reached" in buttons_of(shown(world, "U0ANA"))


async def test_touched_and_closed_leads_have_no_buttons(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    assert text_of(shown(world, "U0ANA")) == "Contacted: the clock has stopped."
    assert buttons_of(shown(world, "U0ANA")) == []
    await world.submit_form(email="two@prospect.example")
    await world.opt_out("two@prospect.example")
    assert text_of(shown(world, "U0BO")).startswith("Closed")
    assert buttons_of(shown(world, "U0BO")) == []


async def test_reassigned_lead_names_the_new_owner_to_the_old_one(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "U0ANA", "hand_over")
    await choose(world, "U0ANA", "cy")
    assert text_of(shown(world, "U0ANA")) == "Reassigned to Cy Young."
    assert len(shown(world, "U0ANA")["blocks"]) == 2, "its facts are no longer shown"
    assert "accept" in buttons_of(shown(world, "U0CY"))


async def test_reminder_goes_into_the_thread_of_the_first_message(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=10)
    first, reminder = [stamp for channel, stamp in world.slack.posted if channel == "DU0ANA"]
    assert (world.slack.messages[1]["thread_ts"], world.slack.messages[1]["channel"]) == (first, "DU0ANA")
    assert world.slack.messages[1]["reply_broadcast"] is True
    assert first != reminder


async def test_reminder_starts_anew_if_the_thread_was_deleted_or_the_rep_has_another_account(world: World) -> None:
    await world.submit_form(email=CTO)
    world.slack.posted.clear()
    await world.wait(minutes=10)
    assert "thread_ts" not in world.slack.messages[1]
    await world.submit_form(email="two@prospect.example")
    await world.change("team", reps({"id": "bo", "slack": "U0NEW"}))
    await world.wait(minutes=10)
    assert world.slack.recipients[-2:] == ["U0MAX", "U0NEW"]


@pytest.mark.both_profiles
async def test_update_waits_for_slacks_retry_after_and_survives_a_restart(world: World) -> None:
    await world.submit_form(email=CTO)
    world.slack.respond(429, retry_after=30)
    await world.accept(CTO, by="ana")
    await world.restart()
    await world.wait(seconds=29)
    assert world.slack.updates == []
    await world.wait(seconds=1)
    assert text_of(shown(world, "U0ANA")) == "Accepted by Ana Gomez."


@pytest.mark.both_profiles
async def test_update_of_a_deleted_message_is_given_up(world: World) -> None:
    await world.submit_form(email=CTO)
    world.slack.posted.clear()
    await world.accept(CTO, by="ana")
    calls = world.slack.calls
    await world.wait(minutes=5)
    assert world.slack.calls == calls
    assert await world.rows("SELECT next_at FROM notifier_slack_messages") == [(None,)]


async def test_click_that_the_router_refuses_says_so_in_the_message(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "U0ANA", "hand_over")
    with world.down("router"):
        await choose(world, "U0ANA", "cy")
        await world.is_away("cy")
    await world.settle()
    assert text_of(shown(world, "U0ANA")) == "Hand over was refused: Cy Young cannot take the lead: away."
    assert "accept" in buttons_of(shown(world, "U0ANA"))
    await click(world, "U0ANA", "accept")
    assert text_of(shown(world, "U0ANA")) == "Accepted by Ana Gomez."


async def test_channel_without_the_app_is_named_at_the_first_failure(
    open_world: OpenWorld, log_lines: list[Any]
) -> None:
    ladder = [{"at": "0m", "page": "channel", "to": "#inbound"}, {"at": "1m", "page": "owner", "by": ["slack"]}]
    world = await open_world(agreement={"response": {"ladder": ladder}})
    world.slack.closed = {"#inbound"}
    await world.submit_form(email=CTO)
    [line] = [line for line in log_lines if line["event"] == "recipient refused"]
    assert (line["recipient"], "invite the Slack app" in line["why"]) == ("#inbound", True)
    warnings = (await world.get("/readyz"))["warnings"]
    assert any("slack accepts no message to #inbound since" in warning for warning in warnings)
    world.slack.closed = set()
    await world.wait(minutes=30)
    assert "inbound" in str(world.slack.recipients)
    assert not any("#inbound" in warning for warning in (await world.get("/readyz"))["warnings"])


async def test_rep_whom_slack_does_not_know_is_named_and_gets_a_mail_at_once(
    world: World, log_lines: list[Any]
) -> None:
    world.slack.unknown = {"U0ANA"}
    await world.submit_form(email=CTO)
    assert world.mail_recipients == ["ana"]
    [line] = [line for line in log_lines if line["event"] == "recipient refused"]
    assert (line["recipient"], "check the rep's `slack` in team.yaml" in line["why"]) == ("ana", True)


async def test_message_that_shows_it_all_is_not_sent_again(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.submit_form(email=CTO)
    await world.accept(CTO, by="ana")
    assert len(world.slack.updates) == 1
    await world.touch(CTO, by="ana")
    await world.touch(CTO, by="ana")
    assert len(world.slack.updates) == 2


@pytest.mark.both_profiles
async def test_message_that_carries_other_leads_keeps_naming_them(open_world: OpenWorld) -> None:
    budget = {"pages": 1, "per": "10m"}
    world = await open_world(agreement={"response": {"budget": budget}}, team=reps(pool=["ana"]))
    world.slack.hang(times=None)
    await world.submit_form(email=CTO, name="Ann Lee")
    await world.submit_form(email="two@prospect.example", name="Ben Ode")
    world.slack.recover()
    await world.wait(minutes=10)
    carriers = [m for m in world.slack.posted.values() if "Ann Lee" in str(m) and "Ben Ode" in str(m)]
    assert carriers
    await world.accept(CTO, by="ana")
    await world.accept("two@prospect.example", by="ana")
    assert any("Accepted by Ana" in str(m) and "Ann Lee" in str(m) and "Ben Ode" in str(m) for m in world.slack.updates)


async def test_message_tells_an_attempt_from_a_contact_once_the_attempt_is_read(world: World) -> None:
    await world.submit_form(email=CTO)
    with world.down("router"):
        await click(world, "U0ANA", "no_answer")
        assert text_of(shown(world, "U0ANA")) == "A contact or an attempt is recorded: the clock has stopped."
    await world.wait(seconds=30)
    assert text_of(shown(world, "U0ANA")) == "Tried, without an answer: the clock has stopped."


async def test_lines_of_other_leads_show_their_present_state_when_a_message_is_shown_anew(
    open_world: OpenWorld,
) -> None:
    world = await open_world(
        team=reps(pool=["ana"]),
        agreement={"response": {"budget": {"pages": 1, "per": "10m"}, "quiet_hours": None}},
    )
    with world.down("notifier"):
        for name in ("one", "two", "three"):
            await world.submit_form(email=f"{name}@{name}.example")
    await world.settle()
    message = shown(world, "U0ANA")
    carrier = next(name for name in ("one", "two", "three") if name in str(message["blocks"][0]))
    others = [name for name in ("one", "two", "three") if name != carrier]
    assert all(f"call {name}" in str(message) or f"to {name}@" in str(message) for name in others)

    await world.touch(f"{others[0]}@{others[0]}.example", by="ana")
    await click(world, "U0ANA", "accept")
    lines = str(shown(world, "U0ANA")["blocks"])
    assert f"{others[0]}@{others[0]}.example: Contacted: the clock has stopped." in lines
    assert f"write to {others[1]}@{others[1]}.example" in lines
