"""A lead is handed over only to colleagues who can take it, and a waiting lead is given to a rep by its manager."""

import re

from tests.fakes.slack_clicks import buttons_of, pressed, submitted
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.test_lead_pages import forms, links, page, send
from tests.story.test_slack_clicks import click, told
from tests.story.test_slack_clicks import send as send_to_slack
from tests.story.world import World

CTO = "cto@prospect.example"
FULL = reps({"id": "bo", "capacity": {"open": 0}})
MAIL = {"response": {"ladder": [{"at": "0m", "page": "owner", "by": ["email"]}]}}
CHOICES = re.compile(r'<option value="([a-z]+)">')


async def test_colleague_who_is_full_or_away_is_not_offered_on_the_page(open_world: OpenWorld) -> None:
    world = await open_world(channels=("email",), agreement=MAIL, team=FULL)
    await world.submit_form(email=CTO)
    path = links(world)["Hand over"]
    shown = (await page(world, path)).text
    assert ('value="bo"' in shown, 'value="cy"' in shown) == (False, True)
    assert "Not free now: Bo Lind (at capacity)." in shown
    refused = await send(world, path, rep="bo")
    assert (refused.status_code, "Not free now: Bo Lind (at capacity)" in refused.text) == (409, True)
    await world.is_away("cy")
    shown = (await page(world, path)).text
    assert "Not free now: Bo Lind (at capacity), Cy Young (away). Nothing was changed." in shown
    assert "hand_over" not in forms(await page(world, links(world)["Open the lead"]))
    assert (await send(world, path, rep="cy")).status_code == 409
    assert await world.owner_of(CTO) == "ana"


async def test_colleague_who_is_full_is_not_offered_in_slack(open_world: OpenWorld) -> None:
    world = await open_world(team=FULL)
    await world.submit_form(email=CTO)
    await click(world, "hand_over")
    [view] = world.slack.views
    assert [option["value"] for option in view["blocks"][0]["element"]["options"]] == ["cy"]
    assert "Not free now: Bo Lind (at capacity)." in str(view)
    answer = await send_to_slack(world, submitted(view, "bo", "U0ANA"))
    assert "The lead can be handed over to: Cy Young. Not free now: Bo Lind" in answer.text
    await world.is_away("cy")
    await click(world, "hand_over")
    assert "Not free now: Bo Lind (at capacity), Cy Young (away)." in await told(world)
    assert await world.owner_of(CTO) == "ana"


def _waiting_team(**more: object) -> dict[str, object]:
    team = reps(pool=("ana", "bo"))
    team["pools"][0] |= {"manager": "max", **more}
    return team


async def test_manager_gives_a_waiting_lead_to_a_rep_from_the_message(open_world: OpenWorld) -> None:
    world = await open_world(team=_waiting_team())
    await world.is_away("ana")
    await world.is_away("bo")
    await world.submit_form(email=CTO)
    await world.wait(minutes=16)
    assert world.slack_recipients == ["max"]
    assert buttons_of(world.slack.messages[0]) == ["reached", "no_answer", "hand_over"]
    await click(world, "hand_over", user="U0MAX")
    assert "Not free now: Ana Gomez (away), Bo Lind (away)." in await told(world)
    with world.down("router"):
        await world.is_back("bo")
        await click(world, "hand_over", user="U0MAX")
        await send_to_slack(world, submitted(world.slack.views[-1], "bo", "U0MAX"))
        assert await world.owner_of(CTO) is None
    await world.settle()
    assert await world.owner_of(CTO) == "bo"


async def test_stranger_gives_no_waiting_lead_to_a_rep(open_world: OpenWorld) -> None:
    world = await open_world(team=_waiting_team())
    await world.is_away("ana")
    await world.is_away("bo")
    await world.submit_form(email=CTO)
    await world.wait(minutes=16)
    view = {"callback_id": "firsthour.hand_over", "private_metadata": page_of(world)}
    for user in ("U0CY", "U0BO"):
        answer = await send_to_slack(world, submitted(view, "bo", user))
        assert "Nothing was changed" in answer.text
    assert await world.owner_of(CTO) is None


def page_of(world: World) -> str:
    """Return the page id of the newest message."""
    payload = world.slack.messages[-1]["metadata"]["event_payload"]
    return str(payload["page_id"])


async def test_not_a_fit_is_offered_only_while_the_agreement_allows_it(open_world: OpenWorld) -> None:
    world = await open_world(channels=("email",), agreement=MAIL)
    await world.submit_form(email=CTO)
    paths = links(world)
    await send(world, paths["Accept"])
    assert "reject" not in forms(await page(world, paths["Open the lead"]))
    shown = await page(world, paths["Not a fit"])
    assert "cannot be given back as it stands" in shown.text
    answer = await send(world, paths["Not a fit"], reason="no-time")
    assert (answer.status_code, await world.status_of(CTO)) == (409, "accepted")


async def test_rejection_that_is_refused_later_is_told_by_mail(open_world: OpenWorld) -> None:
    world = await open_world(channels=("email",), agreement=MAIL)
    await world.submit_form(email=CTO)
    path = links(world)["Not a fit"]
    with world.down("notifier"):
        await world.accept(CTO, by="ana")
        answer = await world.http.post(path, data={"reason": "no-time"})
        assert answer.status_code == 200
    await world.settle()
    assert await world.owner_of(CTO) == "ana"
    body = world.smtp.mails[-1].message.get_body(("plain",))
    assert body is not None
    assert "Not passed on" in body.get_content()


async def test_rep_who_got_no_answer_still_has_the_buttons_of_a_touch(world: World) -> None:
    await world.submit_form(email=CTO)
    first = world.slack.messages[0]
    await click(world, "no_answer")
    await world.wait(minutes=1)
    newest = world.slack.updates[-1]
    assert buttons_of(newest) == ["reached", "no_answer"]
    assert "Tried, without an answer: the clock has stopped." in str(newest["blocks"])
    await send_to_slack(world, pressed(first, "reached", "U0ANA", world.slack.response_url))
    await world.wait(minutes=1)
    assert buttons_of(world.slack.updates[-1]) == []
    assert "Contacted: the clock has stopped." in str(world.slack.updates[-1]["blocks"])


async def test_reasons_of_a_rejection_are_words_in_slack(world: World) -> None:
    await world.submit_form(email=CTO)
    await click(world, "reject")
    options = world.slack.views[0]["blocks"][0]["element"]["options"]
    assert options[0]["text"]["text"] == "Not now"
