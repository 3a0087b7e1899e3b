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
        assert "<h2>In touch again?</h2>" in answer.text, "the action of the link is one among the others"
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


async def test_link_of_a_rep_who_gave_the_lead_back_ends_while_it_waits(mailed: World) -> None:
    path = opening_link(mailed)
    for rep in ("bo", "cy"):
        await mailed.is_away(rep)
    await send(mailed, links(mailed)["Not a fit"], reason="no-time")
    assert await mailed.owner_of(CTO) is None
    answer = await page(mailed, path)
    assert (answer.status_code, "Ann" in answer.text, "tel:" in answer.text) == (410, False, False)
    assert "The lead waits for a new owner. If it becomes yours again, you get a new message." in answer.text


async def test_link_to_a_person_who_opted_out_says_so(mailed: World) -> None:
    paths = links(mailed)
    await mailed.opt_out(CTO)
    for path in (paths["Open the lead"], paths["Reached them"]):
        assert "The person does not want to be contacted any more." in (await page(mailed, path)).text


async def test_page_tells_an_attempt_from_a_contact(mailed: World) -> None:
    paths = links(mailed)
    await send(mailed, paths["No answer"])
    tried = await page(mailed, paths["Open the lead"])
    assert "Tried once, at 09:00 UTC, without an answer yet." in tried.text
    assert "How did it go?" in tried.text
    mailed.clock.advance(minutes=30)
    reached = await send(mailed, paths["Reached them"])
    assert "Contacted at 09:30 UTC." in reached.text
    assert "In touch again?" in reached.text


async def test_accepted_lead_offers_no_second_accept(mailed: World) -> None:
    await mailed.wait(minutes=10)
    first, second = links(mailed, 0), links(mailed, 1)
    accepted = await send(mailed, first["Accept"])
    assert "accept" not in forms(accepted)
    answer = await page(mailed, second["Accept"])
    assert "The lead is accepted already. Nothing was changed." in answer.text
    assert (await send(mailed, second["Accept"])).status_code == 409


async def test_contact_after_the_first_one_stops_no_clock(mailed: World) -> None:
    paths = links(mailed)
    assert "The clock stops." in (await page(mailed, paths["Reached them"])).text
    await send(mailed, paths["No answer"])
    assert "The clock stops." not in (await page(mailed, paths["Reached them"])).text


@pytest.fixture
async def covered(open_world: OpenWorld) -> World:
    """An installation whose lead of Ana was paged to Bo, who covers, and to Max, who manages."""
    ladder = [
        {"at": at, "page": page, "by": ["email"]}
        for at, page in (("0m", "owner"), ("10m", "cover"), ("20m", "manager"))
    ]
    world = await open_world(channels=("email",), agreement={"response": {"ladder": ladder}})
    await world.submit_form(email=CTO, **PERSON)
    await world.wait(minutes=21)
    return world


async def test_cover_who_takes_the_lead_over_reads_that_it_is_theirs(covered: World) -> None:
    path = links(covered, 1)["Accept"]
    assert "You become the owner of the lead." in (await page(covered, path)).text
    with covered.down("router"):
        answer = await covered.http.post(path)
    assert "The lead is yours now." in answer.text
    assert "accept" not in forms(answer)
    assert "<dt>Owner</dt>" not in answer.text
    assert "tel:+493012345678" in answer.text
    await covered.settle()
    assert (await covered.owner_of(CTO)) == covered.mail_recipients[1]


async def test_cover_who_was_too_slow_gets_no_way_to_contact_the_person(covered: World) -> None:
    cover, manager = links(covered, 1), links(covered, 2)
    other = next(rep for rep in ("bo", "cy") if rep != covered.mail_recipients[1])
    with covered.down("router"):
        await covered.http.post(manager["Hand over"], data={"rep": other})
        await covered.http.post(cover["Accept"])
    await covered.settle()
    number = covered.mail_recipients.index(covered.mail_recipients[1], 2)
    body = covered.smtp.mails[number].message.get_body(("plain",))
    assert body is not None
    assert "Not passed on: Ann Lee (Acme Corp) is with" in body.get_content()
    assert "12345678" not in body.get_content()
    assert list(links(covered, number)) == ["Reached them", "No answer"]
    answer = await page(covered, links(covered, number)["Reached them"])
    assert (answer.status_code, "Ann" in answer.text) == (200, False)
    assert "Please do not contact the person: one of you is enough." in answer.text
