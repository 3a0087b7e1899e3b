"""The page of a link that is opened later: used before, snoozed, without an owner, or after the lead went on."""

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.test_lead_pages import CTO, LADDER, PERSON, forms, links, opening_link, page, send
from tests.story.world import World


async def mailing(open_world: OpenWorld, **routing: object) -> World:
    """Return an installation that pages by mail only, without a lead."""
    pools = [{"id": "everyone", "manager": "max", "members": [{"rep": rep} for rep in ("ana", "bo", "cy")]}]
    return await open_world(
        channels=("email",),
        agreement={"response": {"ladder": LADDER}, "routing": routing},
        team={**reps(), "pools": pools},
    )


@pytest.fixture
async def mailed(open_world: OpenWorld) -> World:
    """An installation that pages by mail only, with one lead of Ana."""
    world = await mailing(open_world)
    await world.submit_form(email=CTO, **PERSON)
    return world


async def test_used_link_says_what_it_did_and_does_not_ask_again(mailed: World) -> None:
    path = links(mailed)["Reached them"]
    assert "used this link" not in (await page(mailed, path)).text
    await send(mailed, path)
    for answer in (await page(mailed, path), await send(mailed, path)):
        assert "You have used this link already: Reached them." in answer.text
        assert "<h2>How did it go?</h2>" in answer.text, "the action of the link is one among the others"
    assert (await mailed.event_types_of(CTO)).count("touch.applied") == 1


async def test_link_whose_action_the_router_refused_was_not_used(mailed: World) -> None:
    path = links(mailed)["Hand over"]
    with mailed.down("router"):
        await mailed.http.post(path, data={"rep": "bo"})
        await mailed.is_away("bo")
    await mailed.settle()
    assert "used this link" not in (await page(mailed, path)).text


async def test_used_link_of_a_former_owner_does_not_ask_again(mailed: World) -> None:
    path = links(mailed)["Reached them"]
    await mailed.wait(minutes=31)
    assert list(forms(await page(mailed, path))) == ["reached"]
    await send(mailed, path)
    for answer in (await page(mailed, path), await send(mailed, path)):
        assert "You have used this link already: Reached them." in answer.text
        assert not forms(answer)


async def test_page_of_a_snoozed_lead_says_until_when(mailed: World) -> None:
    await send(mailed, links(mailed)["Snooze"], minutes="30")
    assert (
        "Snoozed until 09:30 UTC. First contact promised by 10:00 UTC."
        in (await page(mailed, opening_link(mailed))).text
    )
    await mailed.wait(minutes=31)
    assert "Snoozed" not in (await page(mailed, opening_link(mailed))).text


async def test_page_of_a_waiting_lead_says_so_and_who_is_not_free(open_world: OpenWorld) -> None:
    world = await mailing(open_world, queue={"alert": "manager", "after": "10m"})
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep)
    await world.submit_form(email=CTO, **PERSON)
    await world.wait(minutes=11)
    shown = (await page(world, opening_link(world))).text
    assert "No owner yet. First contact promised by 10:00 UTC." in shown
    assert "Nobody yet. Not free now: Ana Gomez (away), Bo Lind (away), Cy Young (away)." in shown
    await world.is_back("bo")
    answer = await page(world, links(world, 0)["Open the lead"])
    assert (answer.status_code, "no longer yours" in answer.text) == (410, False), "it was never the manager's"
    assert "The lead is with Bo Lind now. Use the newest message about it." in answer.text


async def test_message_to_a_manager_is_out_of_date_after_a_reassignment(mailed: World) -> None:
    await mailed.wait(minutes=21)
    path = opening_link(mailed)
    assert mailed.mail_recipients[-1] == "max"
    await mailed.wait(minutes=10)
    answer = await page(mailed, path)
    assert (answer.status_code, "no longer yours" in answer.text) == (410, False)
    assert "The lead is with Bo Lind now. Use the newest message about it." in answer.text


async def test_page_says_the_time_of_the_person_when_it_is_opened(mailed: World) -> None:
    mailed.clock.advance(minutes=4)
    shown = (await page(mailed, opening_link(mailed))).text
    assert "when opened" in shown
    assert "when sent" not in shown


async def test_promise_that_ends_now_is_overdue(mailed: World) -> None:
    path = opening_link(mailed)
    mailed.clock.advance(minutes=60)
    assert "Overdue: contact was promised by 10:00 UTC." in (await page(mailed, path)).text
