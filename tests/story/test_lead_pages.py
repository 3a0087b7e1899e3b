"""The page of a lead behind the link of a page: what a rep sees, and what any other reader gets."""

import asyncio
import re
from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
PERSON = {"name": "Ann Lee", "title": "CTO", "phone": "+493012345678", "company__name": "Acme Corp"}
LADDER = [
    {"at": "0m", "page": "owner", "by": ["email"]},
    {"at": "10m", "page": "owner", "by": ["email"]},
    {"at": "20m", "page": "manager", "by": ["email"]},
    {"at": "30m", "reassign": True},
]
_LINK = re.compile(r"^(?:- )?([A-Z][A-Za-z ]+): http://127\.0\.0\.1:8080(/a/[A-Za-z0-9_-]{56})\r?$", re.MULTILINE)
_FORM = re.compile(r'formaction="([A-Za-z0-9_-]{56})" name="action" value="([a-z_]+)"')


def links(world: World, mail: int = -1) -> dict[str, str]:
    """Return the paths of the signed links in a mail, by their labels."""
    body = world.smtp.mails[mail].message.get_body(("plain",))
    assert body is not None
    return dict(_LINK.findall(body.get_content()))


def opening_link(world: World, mail: int = -1) -> str:
    """Return the path of the link `Open the lead` in a mail."""
    return links(world, mail)["Open the lead"]


def forms(answer: Any) -> dict[str, str]:
    """Return the paths to which the forms of a page are sent, by their actions."""
    return {action: f"/a/{token}" for token, action in _FORM.findall(answer.text)}


async def page(world: World, path: str) -> Any:
    return await world.ask("GET", path, role=None)


async def send(world: World, path: str, **fields: str) -> Any:
    """Send a form of the page, as a browser does."""
    answer = await world.http.post(path, data=fields)
    await world.settle()
    return answer


@pytest.fixture
async def mailed(open_world: OpenWorld) -> World:
    """An installation that pages by mail only, with one lead of Ana."""
    world = await open_world(channels=("email",), agreement={"response": {"ladder": LADDER}})
    await world.submit_form(email=CTO, **PERSON)
    assert world.mail_recipients == ["ana"]
    return world


async def test_link_of_a_page_opens_the_lead_without_a_key(mailed: World) -> None:
    answer = await page(mailed, opening_link(mailed))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for text in (
        "Ann Lee",
        "Acme Corp",
        "CTO",
        "tel:+493012345678",
        "mailto:cto@prospect.example?subject=",
        "Ana Gomez",
    ):
        assert text in answer.text
    assert "Sent the form demo request" in answer.text


async def test_page_is_not_stored_and_loads_and_runs_nothing(mailed: World) -> None:
    answer = await page(mailed, opening_link(mailed))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "<script" not in answer.text
    assert not re.search(r"""(src|href)=["']?(http|//)""", answer.text)


async def test_opening_a_link_changes_nothing(mailed: World) -> None:
    before, events = await mailed.lead(CTO), await mailed.appended("actions", "routes")
    for _ in range(3):
        await page(mailed, opening_link(mailed))
        await mailed.ask("HEAD", opening_link(mailed), role=None)
    await mailed.settle()
    assert await mailed.lead(CTO) == before
    assert await mailed.appended("actions", "routes") == events


async def test_forged_link_says_so_and_shows_nothing(mailed: World) -> None:
    path = opening_link(mailed)
    for forged in (path[:-1] + ("A" if path[-1] != "A" else "B"), "/a/x", "/a/" + "A" * 56, path + "A"):
        answer = await page(mailed, forged)
        assert answer.status_code == 404
        assert "not valid" in answer.text
        assert "Ann" not in answer.text


async def test_link_expires_after_seven_days(mailed: World) -> None:
    path = opening_link(mailed)
    mailed.clock.advance(days=6, hours=23)
    assert (await page(mailed, path)).status_code in (200, 410)
    mailed.clock.advance(hours=2)
    answer = await page(mailed, path)
    assert answer.status_code == 410
    assert "expired" in answer.text
    assert "Ann" not in answer.text


async def test_link_expires_with_the_assignment_and_names_the_new_owner(mailed: World) -> None:
    path = opening_link(mailed)
    await mailed.wait(minutes=31)
    assert await mailed.owner_of(CTO) == "bo"
    answer = await page(mailed, path)
    assert answer.status_code == 410
    assert "Bo Lind" in answer.text
    assert "Ann" not in answer.text


# --- acting -----------------------------------------------------------------------------------------------------------


async def test_reached_by_link_stops_the_clock_once(mailed: World) -> None:
    path = links(mailed)["Reached them"]
    shown = await page(mailed, path)
    assert (shown.status_code, "Ann Lee" in shown.text) == (200, True)
    assert (await mailed.lead(CTO))["clock"]["state"] == "live"

    answer = await send(mailed, path, note="Meeting on Thursday")
    assert (answer.status_code, "you reached them" in answer.text) == (200, True)
    lead = await mailed.lead(CTO)
    assert (lead["clock"]["state"], lead["status"]) == ("met", "working")
    [touch] = [item["data"] for item in await mailed.lead_items(CTO, "timeline") if item["type"] == "touch.applied"]
    assert (touch["rep"], touch["answered"], touch["note"]) == ("ana", True, "Meeting on Thursday")

    again = await send(mailed, path)
    assert (again.status_code, "Nothing was changed" in again.text) == (409, True)
    assert (await mailed.event_types_of(CTO)).count("touch.applied") == 1
    await mailed.wait(hours=2)
    assert mailed.mail_recipients == ["ana"]


@pytest.mark.both_profiles
async def test_parallel_replays_of_a_link_act_once(mailed: World) -> None:
    path = links(mailed)["No answer"]
    answers = await asyncio.gather(*(mailed.http.post(path) for _ in range(20)))
    await mailed.settle()
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert (await mailed.event_types_of(CTO)).count("touch.applied") == 1


async def test_accept_by_link_ends_reminders_and_the_page_says_until_when(mailed: World) -> None:
    answer = await send(mailed, links(mailed)["Accept"])
    assert (answer.status_code, "Accepted" in answer.text) == (200, True)
    assert await mailed.status_of(CTO) == "accepted"
    await mailed.wait(minutes=15)
    assert mailed.mail_recipients == ["ana"]


async def test_reject_needs_a_reason_of_the_agreement(mailed: World) -> None:
    path = links(mailed)["Not a fit"]
    shown = await page(mailed, path)
    for reason in re.findall(r'<option value="([a-z-]+)">', shown.text):
        assert reason in {"not-now", "wrong-person", "no-budget", "competitor", "wrong-territory", "no-time", "conflict",
                          "bo", "cy", "10", "30", "60"}  # fmt: skip
    for fields in ({}, {"reason": ""}, {"reason": "<b>boring</b>"}, {"reason": "x" * 10_000}):
        answer = await send(mailed, path, **fields)
        assert answer.status_code == 409
        assert "needs one of these reasons" in answer.text
        assert "<b>boring" not in answer.text
    assert await mailed.status_of(CTO) == "assigned"

    answer = await send(mailed, path, reason="no-time", note="On leave from tomorrow")
    assert (answer.status_code, await mailed.owner_of(CTO)) == (200, "bo")


async def test_hand_over_asks_for_a_colleague_of_the_pool(mailed: World) -> None:
    path = links(mailed)["Hand over"]
    assert '<option value="bo">Bo Lind</option>' in (await page(mailed, path)).text
    for rep in ("", "max", "nobody", "ana"):
        assert (await send(mailed, path, rep=rep)).status_code == 409
    answer = await send(mailed, path, rep="cy")
    assert (answer.status_code, "Cy Young" in answer.text) == (200, True)
    assert await mailed.owner_of(CTO) == "cy"
    assert mailed.mail_recipients[-1] == "cy"


@pytest.mark.both_profiles
async def test_hand_over_that_is_refused_later_is_told_by_mail(mailed: World) -> None:
    await send(mailed, links(mailed)["Accept"])
    with mailed.down("router"):
        answer = await mailed.http.post(links(mailed)["Hand over"], data={"rep": "bo"})
        await mailed.is_away("bo")
    await mailed.settle()
    assert (answer.status_code, await mailed.owner_of(CTO)) == (200, "ana")
    assert mailed.mail_recipients == ["ana", "ana"]
    assert str(mailed.smtp.mails[-1].message["Subject"]) == "Re: Hot lead: Ann Lee (Acme Corp)"
    body = mailed.smtp.mails[-1].message.get_body(("plain",))
    assert body is not None
    assert "Not passed on: Ann Lee (Acme Corp) is still yours" in body.get_content()
    assert list(links(mailed)) == ["Reached them", "No answer", "Hand over", "Open the lead"]


async def test_snooze_postpones_the_reminder(mailed: World) -> None:
    path = links(mailed)["Snooze"]
    for minutes in ("", "0", "-5", "7", "99999999999999", "x"):
        assert (await send(mailed, path, minutes=minutes)).status_code == 409
    answer = await send(mailed, path, minutes="10")
    assert (answer.status_code, "Snoozed until 09:10" in answer.text) == (200, True)


async def test_page_of_a_lead_has_every_action_with_a_link_of_its_own(mailed: World) -> None:
    shown = await page(mailed, opening_link(mailed))
    actions = forms(shown)
    assert actions.keys() == {"reached", "no_answer", "accept", "reject", "snooze", "hand_over"}
    answer = await send(mailed, actions["no_answer"], note="Voicemail")
    assert "an attempt without an answer" in answer.text
    # the answer shows the page again, whose forms have new links: the same again at once is a double tap, later another fact
    assert "accept" not in forms(answer)
    assert (await send(mailed, forms(answer)["no_answer"])).status_code == 409
    mailed.clock.advance(seconds=10)
    second = await send(mailed, forms(answer)["no_answer"])
    assert second.status_code == 200
    assert (await mailed.event_types_of(CTO)).count("touch.applied") == 2
    assert "Ana Gomez tried to reach them by phone, no answer" in second.text
    assert "Voicemail" in second.text


async def test_link_for_one_action_does_no_other(mailed: World) -> None:
    for label in ("Accept", "Snooze"):
        await send(mailed, links(mailed)[label], reason="no-time", rep="cy", action="reject")
    assert (await mailed.owner_of(CTO), await mailed.status_of(CTO)) == ("ana", "accepted")


async def test_link_that_only_shows_does_not_act(mailed: World) -> None:
    answer = await send(mailed, opening_link(mailed), reason="no-time")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert await mailed.status_of(CTO) == "assigned"


async def test_request_of_another_site_is_refused(mailed: World) -> None:
    answer = await mailed.http.post(links(mailed)["Accept"], headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert await mailed.status_of(CTO) == "assigned"


async def test_forged_and_expired_links_change_nothing_and_show_nothing(mailed: World) -> None:
    paths = links(mailed)
    for path in paths.values():
        forged = path[:20] + ("A" if path[20] != "A" else "B") + path[21:]
        answer = await send(mailed, forged, reason="no-time", rep="cy", minutes="10")
        assert (answer.status_code, "Ann" in answer.text) == (404, False)
    mailed.clock.advance(days=7, seconds=1)
    for path in paths.values():
        answer = await mailed.http.post(path, data={"reason": "no-time", "rep": "cy", "minutes": "10"})
        assert (answer.status_code, "expired" in answer.text, "Ann" in answer.text) == (410, True, False)


async def test_former_owner_may_still_say_that_they_reached_the_person(mailed: World) -> None:
    paths = links(mailed)
    await mailed.wait(minutes=31)
    assert await mailed.owner_of(CTO) == "bo"
    for label in ("Accept", "Not a fit", "Snooze", "Hand over"):
        answer = await send(mailed, paths[label], reason="no-time", rep="cy", minutes="10")
        assert (answer.status_code, "Bo Lind" in answer.text, "Ann" in answer.text) == (410, True, False), label
    shown = await page(mailed, paths["Reached them"])
    assert (shown.status_code, list(forms(shown)), "Ann" in shown.text) == (200, ["reached"], False)
    assert (await send(mailed, paths["Reached them"])).status_code == 200
    assert (await mailed.lead(CTO))["clock"]["state"] == "met"
    assert await mailed.owner_of(CTO) == "bo"


async def test_manager_has_the_actions_of_a_manager(mailed: World) -> None:
    await mailed.wait(minutes=21)
    assert mailed.mail_recipients == ["ana", "ana", "max"]
    assert links(mailed).keys() == {"Reached them", "No answer", "Hand over", "Open the lead"}
    answer = await send(mailed, links(mailed)["Hand over"], rep="cy")
    assert (answer.status_code, await mailed.owner_of(CTO)) == (200, "cy")


async def test_link_of_a_rep_who_left_the_team_does_nothing(mailed: World) -> None:
    paths = links(mailed)
    await mailed.change("team", reps({"id": "ana", "active": False}, pool=("bo", "cy")))
    for label in ("Reached them", "Accept", "Open the lead"):
        answer = await send(mailed, paths[label])
        assert (answer.status_code, "Ann" in answer.text) == (403, False)


async def test_link_of_a_person_who_opted_out_offers_nothing(mailed: World) -> None:
    paths, opening = links(mailed), opening_link(mailed)
    await mailed.opt_out(CTO)
    assert (await page(mailed, opening)).status_code == 410
    assert (await send(mailed, paths["Accept"])).status_code == 410


async def test_reminders_about_a_lead_are_one_thread(mailed: World) -> None:
    await mailed.wait(minutes=31)
    first, second, manager, bo = (mail.message for mail in mailed.smtp.mails[:4])
    assert second["In-Reply-To"] == first["Message-ID"]
    assert {str(mail["References"]).split()[0] for mail in (first, second, manager, bo)} == {str(first["References"])}
    assert first["Reply-To"] is None
    assert (first["Auto-Submitted"], second["Subject"]) == ("auto-generated", f"Re: {first['Subject']}")


async def test_hostile_bodies_get_an_answer_and_change_nothing(mailed: World) -> None:
    path = links(mailed)["Not a fit"]
    for body in (
        b"\xff\xfe",
        b"reason=no-time" * 5000,
        b"&" * 30_000,
        b"reason=%00%ff&note=%ed%a0%80",
        b"{}",
        b"a=1&" * 50,
    ):
        answer = await mailed.http.post(
            path, content=body, headers={"content-type": "application/x-www-form-urlencoded"}
        )
        assert answer.status_code in (409, 413), (body[:20], answer.status_code)
    assert await mailed.status_of(CTO) == "assigned"


@pytest.mark.parametrize(
    "typed",
    ["<script>alert(1)</script>", "{{ 7 * 7 }}{% x %}", "\u202egnp.exe", "a" * 30_000],
    ids=("script", "template", "bidi", "long"),
)
async def test_text_of_a_stranger_is_inert_on_the_page(open_world: OpenWorld, typed: str) -> None:
    world = await open_world(channels=("email",))
    names = ("name", "title", "company", "country", "message", "utm_source", "path")
    fields: dict[str, Any] = dict.fromkeys(names, typed[:30_000])
    answer = await world.post_form("demo-request", email=CTO, **fields)
    assert answer.status_code == 202, answer.text
    await world.settle()
    shown = await page(world, opening_link(world))
    assert shown.status_code == 200
    assert "<script" not in shown.text
    assert "\u202e" not in shown.text
    assert ">49<" not in shown.text
    assert len(shown.text) < 60_000


async def test_log_and_metrics_have_no_token(mailed: World, log_lines: list[Any]) -> None:
    path = links(mailed)["Accept"]
    await page(mailed, path)
    await send(mailed, path)
    token = path.removeprefix("/a/")
    assert token not in str(log_lines)
    assert token not in (await mailed.ask("GET", "/metrics")).text


async def test_snooze_that_pauses_the_clock_may_be_longer_than_the_promise(open_world: OpenWorld) -> None:
    pauses = {"snooze": {"at_most": "4h"}}
    world = await open_world(channels=("email",), agreement={"response": {"ladder": LADDER, "pauses": pauses}})
    await world.submit_form(email=CTO, **PERSON)
    shown = await page(world, links(world)["Snooze"])
    assert re.findall(r'<option value="(\d+)">', shown.text) == ["10", "30", "60", "120", "240"]
    answer = await send(world, links(world)["Snooze"], minutes="120")
    assert (answer.status_code, "until 11:00 UTC" in answer.text) == (200, True)


async def test_snooze_ends_with_the_promise_if_the_clock_runs_on(mailed: World) -> None:
    shown = await page(mailed, links(mailed)["Snooze"])
    assert re.findall(r'<option value="(\d+)">', shown.text) == ["10", "30", "60"]
