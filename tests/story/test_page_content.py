"""The whole page as the rep reads it, in Slack and as a mail, and the places where the person's words may not be."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "ann@prospect.example"
CALENDARS = {"berlin": {"timezone": "Europe/Berlin", "holidays": "DE"}}
SECRET_WORDS = "We leave our vendor, tell no one"
URL = re.compile(r"http://127\.0\.0\.1:8080/a/[\w-]+")
MARKUP = re.compile(r"<!date\^(\d+)\^([^|]+)\|[^>]*>|<[^|>]+\|([^>]*)>")


def read(message: dict[str, Any], zone: ZoneInfo, now: datetime) -> str:
    """Return a Slack message as its reader sees it in this zone and at this time."""

    def shown(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[3]
        at = datetime.fromtimestamp(int(match[1]), UTC)
        minutes = int((now - at).total_seconds() // 60)
        clock = match[2].replace("{date_short_pretty}", f"{at.astimezone(zone):%b %-d}")
        return clock.replace("{time}", f"{at.astimezone(zone):%H:%M}").replace("{ago}", f"{minutes} minutes ago")

    texts = (MARKUP.sub(shown, text) for block in message["blocks"] for text in lines(block))
    return "\n".join(text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">") for text in texts)


def beginning(text: str, lines_of: str) -> list[str]:
    """Return as many lines of the text as `lines_of` has."""
    return text.splitlines()[: len(lines_of.splitlines())]


def lines(block: dict[str, Any]) -> Iterator[str]:
    if block["type"] == "context":
        yield " ".join(element["text"] for element in block["elements"])
    if "text" in block:
        yield block["text"]["text"]
    yield from (field["text"] for field in block.get("fields", ()))


async def visit_and_ask(world: World, **fields: Any) -> None:
    """View pages, download a paper and ask for a demo, as a prospect does over three days."""
    person = {"email": CTO, "name": "Ann Lee"}
    days = timedelta(days=3)
    await world.event("content.downloaded", time=world.clock.now - days, content="Buyer's guide", **person)
    for minutes in (9, 4):
        at = world.clock.now - timedelta(minutes=minutes)
        await world.event("page.viewed", time=at, path="/pricing?email=ann@prospect.example", **person)
    await world.submit_form(
        **person,
        phone="+49 30 123456",
        title="Head of IT",
        company="Müller & Söhne",
        employees=400,
        country="Germany",
        message="We need this <b>before</b> Christmas.\nCan you call me today?",
        **fields,
    )


SLACK = """\
Hot lead: call Ann Lee (Müller & Söhne)
Contact by: Dec 1 at 11:00
Phone: +49 30 123456
Email: ann@prospect.example
Their time: Tue 10:00 in Germany when sent; office hours until Dec 1 at 17:00
Person: Ann Lee, Head of IT, Germany
Company: Müller & Söhne, 400 employees
Score: 76, grade A
Received: 0 minutes ago
In their own words (demo request) 0 minutes ago
We need this <b>before</b> Christmas. Can you call me today?
Why now:
• Asked for a demo
• Company of the right size
• Decides on budget
Recent activity:
• Sent the form demo request 0 minutes ago
• Visited /pricing, 2 times, last 4 minutes ago
• Downloaded Buyer's guide 4320 minutes ago
"""
MAIL = """\
Hot lead: call Ann Lee (Müller & Söhne) by 11:00 CET

Contact by: 11:00 CET
Phone:      +49 30 123456
Email:      ann@prospect.example
Their time: Tue 10:00 in Germany when sent; office hours until 17:00 CET
Person:     Ann Lee, Head of IT, Germany
Company:    Müller & Söhne, 400 employees
Score:      76, grade A
Received:   10:00 CET (less than a minute earlier)

In their own words (demo request), 10:00 CET (less than a minute earlier):
  We need this <b>before</b> Christmas. Can you call me today?

Why now:
- Asked for a demo
- Company of the right size
- Decides on budget

Recent activity:
- Sent the form demo request, 10:00 CET (less than a minute earlier)
- Visited /pricing, 2 times, last 09:56 CET (4 minutes earlier)
- Downloaded Buyer's guide, Sat 28 Nov 10:00 CET (3 days earlier)
"""


SHORT = """\
Hot lead: write to ann@prospect.example
Contact by: Dec 1 at 10:00
Email: ann@prospect.example
Company: prospect.example
Score: 30, grade D
Received: 0 minutes ago
Why now:
• Asked for a demo
Recent activity:
• Sent the form demo request 0 minutes ago
"""


async def test_rep_reads_whom_to_call_until_when_and_why_in_slack(open_world: OpenWorld) -> None:
    team = reps({"id": "ana", "calendar": "berlin"}, pool=["ana"])
    world = await open_world(agreement={"calendars": CALENDARS}, team=team)
    await visit_and_ask(world)

    [message] = world.slack.messages
    assert beginning(read(message, ZoneInfo("Europe/Berlin"), world.clock.now), SLACK) == SLACK.splitlines()
    assert message["text"] == "Hot lead: call Ann Lee (Müller &amp; Söhne) by 11:00 CET"
    assert "Contact by: Dec 1 at 05:00" in read(message, ZoneInfo("America/New_York"), world.clock.now)
    later = world.clock.now + timedelta(minutes=30)
    assert "Received: 30 minutes ago" in read(message, ZoneInfo("Europe/Berlin"), later)


async def test_rep_reads_the_same_in_a_mail_with_absolute_times(open_world: OpenWorld) -> None:
    team = reps({"id": "ana", "calendar": "berlin"}, pool=["ana"])
    world = await open_world(agreement={"calendars": CALENDARS}, team=team, channels=("email",))
    await visit_and_ask(world)

    [mail] = world.smtp.mails
    plain, html = (mail.message.get_body((kind,)) for kind in ("plain", "html"))
    assert isinstance(plain, EmailMessage)
    assert isinstance(html, EmailMessage)
    shown = [line for line in plain.get_content().splitlines() if "mailto:" not in line]
    assert [line for line in MAIL.splitlines() if line not in shown] == []
    assert not re.search(r"\d+ (minutes|h) left", plain.get_content())
    assert mail.message["Subject"] == "Hot lead: Ann Lee (Müller & Söhne)"
    assert mail.message["Reply-To"] is None
    body = html.get_content()
    assert 'href="tel:+4930123456"' in body
    assert 'href="mailto:ann@prospect.example?subject=Your%20request"' in body
    assert "We need this &lt;b&gt;before&lt;/b&gt; Christmas. Can you call me today?" in body


async def test_person_without_words_acts_and_place_has_a_short_page(world: World) -> None:
    await world.submit_form(email=CTO)
    text = read(world.slack.messages[0], ZoneInfo("UTC"), world.clock.now)
    assert beginning(text, SHORT) == SHORT.splitlines()
    assert "In their own words" not in text
    assert "Their time" not in text


async def test_page_has_no_ids_and_no_internal_names(world: World) -> None:
    await visit_and_ask(world)
    await world.wait(minutes=30)
    lead = await world.lead(CTO)
    for message in world.slack.messages:
        text = read(message, ZoneInfo("UTC"), world.clock.now)
        assert not re.search(rf"{lead['id']}|epoch|rung|hand-raiser|form\.submitted|page\.viewed|everyone", text), text


async def test_next_owner_reads_what_the_person_did_meanwhile(world: World) -> None:
    await visit_and_ask(world)
    await world.wait(minutes=20)
    await world.event("page.viewed", email=CTO, path="/security")
    await world.wait(minutes=10)
    texts = [read(message, ZoneInfo("UTC"), world.clock.now) for message in world.slack.messages[-2:]]
    lost, text = sorted(texts, key=lambda shown: shown.startswith("Now yours"))
    assert lost.startswith("Moved on: Ann Lee (Müller & Söhne) is now with Bo Lind")
    assert text.startswith("Now yours: call Ann Lee")
    assert "• Visited /security 10 minutes ago\n• Sent the form demo request 30 minutes ago" in text
    assert "We need this" in text


async def test_owner_reads_the_new_words_of_a_person_who_asks_again(world: World) -> None:
    await visit_and_ask(world)
    await world.wait(minutes=5)
    await world.submit_form(email=CTO, message="Is anybody there?")
    text = read(world.slack.messages[-1], ZoneInfo("UTC"), world.clock.now)
    assert "Is anybody there?" in text
    assert "We need this" not in text
    assert "In their own words (demo request) 0 minutes ago" in text


async def test_manager_reads_about_a_lead_that_waits_for_an_owner(open_world: OpenWorld) -> None:
    team = reps({"id": "ana", "capacity": {"open": 0}}, pool=["ana"])
    world = await open_world(agreement={"routing": {"queue": {"alert": "manager", "after": "10m"}}}, team=team)
    await visit_and_ask(world)
    await world.wait(minutes=10)
    [text] = [read(message, ZoneInfo("UTC"), world.clock.now) for message in world.slack.messages]
    assert text.startswith("Ann Lee (Müller & Söhne) waits: no rep can take the lead\n")
    assert "Phone: +49 30 123456" in text
    assert "We need this" in text


@pytest.mark.both_profiles
async def test_words_of_a_person_are_in_no_decision_and_in_no_log_line(
    open_world: OpenWorld, log_lines: list[Any]
) -> None:
    rules = [
        {"name": "Leavers", "when": {"message": {"contains": "vendor"}}, "pool": "everyone"},
        {"name": "Everyone", "pool": "everyone"},
    ]
    world = await open_world(agreement={"routing": {"rules": rules}})
    world.slack.error("invalid_blocks")
    await world.submit_form(email=CTO, message=SECRET_WORDS)

    [decision] = await world.lead_items(CTO, "decisions")
    assert decision["rule"] == "Leavers"
    assert SECRET_WORDS not in str(await world.rows("SELECT * FROM router_decisions"))
    assert any(SECRET_WORDS in str(mail.raw) for mail in world.smtp.mails)
    assert SECRET_WORDS not in str(log_lines)
    assert SECRET_WORDS not in str(await world.rows("SELECT * FROM notifier_pages"))
