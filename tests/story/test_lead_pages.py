"""The page of a lead behind the link of a page: what a rep sees, and what any other reader gets."""

import re
from email.message import EmailMessage
from typing import Any

import pytest

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"
PERSON = {"name": "Ann Lee", "title": "CTO", "phone": "+493012345678", "company__name": "Acme Corp"}
LADDER = [
    {"at": "0m", "page": "owner", "by": ["email"]},
    {"at": "10m", "page": "owner", "by": ["email"]},
    {"at": "20m", "page": "manager", "by": ["email"]},
    {"at": "30m", "reassign": True},
]
_LINK = re.compile(r"http://127\.0\.0\.1:8080(/a/[A-Za-z0-9_-]+)")


def links_of(mail: EmailMessage) -> list[str]:
    """Return the paths of the signed links in the text of a mail, in its order."""
    body = mail.get_body(("plain",))
    assert body is not None
    return _LINK.findall(body.get_content())


def opening_link(world: World) -> str:
    """Return the path of the link `Open the lead` in the newest mail."""
    body = world.smtp.mails[-1].message.get_body(("plain",))
    assert body is not None
    match = re.search(r"Open the lead: *" + _LINK.pattern, body.get_content())
    assert match is not None, body.get_content()
    return match[1]


async def page(world: World, path: str) -> Any:
    return await world.ask("GET", path, role=None)


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


@pytest.mark.same_on_both_profiles
async def test_link_expires_with_the_assignment_and_names_the_new_owner(mailed: World) -> None:
    path = opening_link(mailed)
    await mailed.wait(minutes=31)
    assert await mailed.owner_of(CTO) == "bo"
    answer = await page(mailed, path)
    assert answer.status_code == 410
    assert "Bo Lind" in answer.text
    assert "Ann" not in answer.text
