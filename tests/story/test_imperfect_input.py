"""Imperfect input of people and vendors still reaches a rep: odd forms, repeated ids, mixed lists, wrong times."""

import json
from urllib.parse import urlencode

import pytest

from firsthour.runtime.http.client import Response
from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"
BROWSER = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}


async def browse(world: World, pairs: list[tuple[str, str]], charset: str = "utf-8") -> Response:
    """Post a form as a browser does."""
    body = urlencode(pairs, encoding=charset).encode()
    return await world.http.post("/v1/forms/demo-request", content=body, headers=BROWSER)


async def test_form_without_an_email_but_with_a_phone_is_a_hot_lead(open_world: OpenWorld) -> None:
    world = await open_world()
    sent = [("email", "n/a"), ("phone", "+49 30 1234567"), ("name", ""), ("name", "J\xfcrgen"), ("_hp", "false")]
    sent += [("employees", "201-500 employees"), ("_charset_", "iso-8859-1")]
    answer = await browse(world, sent, "iso-8859-1")
    await world.settle()

    assert (answer.status_code, "Thank you" in answer.text) == (202, True)
    [lead] = await world.leads()
    assert (lead["name"], lead["owner"]["id"], world.slack_recipients) == ("J\xfcrgen", "ana", ["ana"])
    assert lead["score"]["fit"] == 40


@pytest.mark.both_profiles
async def test_form_that_cannot_be_mapped_becomes_a_dead_letter_and_is_retried(open_world: OpenWorld) -> None:
    world = await open_world()
    answer = await browse(world, [("email", "<b>cto at prospect"), ("name", "Ann")])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "<b>" not in answer.text
    [letter] = (await world.get("/v1/deadletters"))["items"]
    corrected = await world.ask("POST", f"/v1/deadletters/{letter['id']}/retry", body={"email": CTO, "name": "Ann"})
    assert corrected.status_code == 200, corrected.text
    await world.settle()
    assert await world.owner_of(CTO) == "ana"


@pytest.mark.both_profiles
async def test_second_inquiry_under_a_constant_id_is_accepted(world: World) -> None:
    for message in ("a demo, please", "a demo, please", "and what does it cost?"):
        assert (await world.post_form("demo-request", id="form-1", email=CTO, message=message)).status_code == 202
    await world.settle()
    assert await world.appended("events") == 2
    await world.wait(hours=25)
    await world.post_form("demo-request", id="form-1", email=CTO, message="a demo, please")
    await world.settle()
    assert (await world.event_types_of(CTO)).count("form.submitted") == 3


async def test_one_invalid_call_in_a_list_does_not_reject_the_others(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.submit_form(email=CTO)
    call = {"kind": "call.ended", "ended_at": world.clock.business().isoformat(), "duration": 60}
    bad, good = ({**call, "uuid": email, "customer": {"email": email}} for email in ("nobody", CTO))
    answer = await world.hook("phone", json.dumps([bad, good]).encode())
    await world.settle()

    assert (answer.status_code, answer.json()["taken"], answer.json()["kept"]) == (202, 1, 1)
    assert await world.status_of(CTO) == "working"
    [letter] = (await world.get("/v1/deadletters"))["items"]
    assert [letter["id"]] == answer.json()["dead_letters"]


async def test_impossible_time_is_replaced_and_noted_in_the_timeline(world: World) -> None:
    for id, time in (("1", 0), ("2", "2099-01-01T00:00:00Z")):
        event = {"id": id, "type": "form.submitted", "email": CTO, "time": time, "data": {"form": "demo-request"}}
        assert (await world.post_events(event)).status_code == 202
    await world.settle()
    assert await world.owner_of(CTO) == "ana"
    lines = [item["line"] for item in await world.lead_items(CTO, "timeline") if item["type"] == "form.submitted"]
    assert all(line.endswith("its time was impossible; it counts as received") for line in lines)
    await world.verify()


async def test_event_cannot_set_the_owner_of_its_lead(world: World) -> None:
    await world.event(
        "form.submitted", email=CTO, form="demo-request", **{"account.owner": "cy", "previous_owner": "cy"}
    )
    assert await world.owner_of(CTO) == "ana"
