"""Pages as cards in Microsoft Teams, over a real socket to a fake workflow."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.channels.teams import CARD_BYTES_MAX, TeamsChannel, body
from services.notifier.domain.message import ActionLink
from services.notifier.domain.message_text import words
from services.notifier.domain.page_words import Fact, Words
from tests.fakes.pages import ATTACKS, hostile_message, page_message
from tests.fakes.services import FakeService

LINK = "http://127.0.0.1:8080/a/"


@pytest_asyncio.fixture
async def workflow() -> AsyncIterator[FakeService]:
    async with FakeService(202) as fake:
        yield fake


@pytest.fixture
def channel(workflow: FakeService) -> TeamsChannel:
    return TeamsChannel("teams", f"{workflow.url}/workflows/1?sig=abc%2Bdef", "set TEAMS_URL", timeout_seconds=60.0)


def texts(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        for name, value in element.items():
            yield from [value] if name == "text" else texts(value)
    elif isinstance(element, list):
        for one in element:
            yield from texts(one)


def types(element: Any) -> set[str]:
    if isinstance(element, dict):
        own = {element["type"]} if "type" in element else set()
        return own.union(*(types(value) for value in element.values()))
    return set().union(*(types(one) for one in element)) if isinstance(element, list) else set()


async def test_page_is_a_card_with_facts_and_a_link(workflow: FakeService, channel: TeamsChannel) -> None:
    assert await channel.send(page_message()) == Sent(f"teams:{page_message().page_id}")
    [call] = workflow.calls
    assert (call.method, call.target) == ("POST", "/workflows/1?sig=abc%2Bdef")
    [attachment] = call.json["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    shown = list(texts(card))
    assert shown[:2] == ["Hot lead: call Ann Lee (Acme) by 10:00 UTC", "For Bo Chen"]
    assert "+49 30 12345678" in shown
    [action] = card["actions"]
    assert (action["type"], action["url"]) == ("Action.OpenUrl", "https://firsthour.example/leads/lead-1")


def test_label_of_a_fact_stands_apart_from_its_text() -> None:
    card = json.loads(body(words(page_message()), "For Bo"))["attachments"][0]["content"]
    lines = ["".join(texts(element)) for element in card["body"]]
    assert "Phone: +49 30 12345678" in lines
    assert "Contact by: 10:00 UTC" in lines


def test_former_owner_has_buttons_to_report_a_contact_of_before() -> None:
    links = tuple(ActionLink(action, LINK + action) for action in ("reached", "no_answer"))
    lost = words(page_message(kind="lost", person_name="Ana", lead_url=None))
    card = json.loads(body(lost, "For Ana", (*links, ActionLink("accept", "javascript:alert(1)"))))
    buttons = card["attachments"][0]["content"]["actions"]
    assert [(button["title"], button["url"]) for button in buttons] == [
        ("Reached them", LINK + "reached"),
        ("No answer", LINK + "no_answer"),
    ]


@pytest.mark.parametrize("text", [*ATTACKS, "{{DATE(2026-01-01)}}", "[click](http://evil.example)", "**bold**"])
async def test_text_from_outside_stays_inert(workflow: FakeService, channel: TeamsChannel, text: str) -> None:
    await channel.send(hostile_message(text))
    card = workflow.calls[0].json["attachments"][0]["content"]
    assert types(card) <= {"AdaptiveCard", "RichTextBlock", "TextRun", "Action.OpenUrl"}, "no element reads Markdown"
    assert not any("{{" in shown or "\n" in shown or "://" in shown for shown in texts(card))


def test_long_texts_are_cut_to_the_size_that_teams_takes() -> None:
    long = Words(
        headline="s" * 5_000,
        subject="s" * 5_000,
        facts=tuple(Fact(f"label {n}", ("😀" * 2_000,)) for n in range(12)),
        todo=("do",) * 5,
        footer="f" * 5_000,
    )
    card = body(long, "For " + "n" * 5_000)
    assert 10_000 < len(card) <= CARD_BYTES_MAX
    assert json.loads(card)["type"] == "message"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Sent(f"teams:{page_message().page_id}")),
        (429, TryAgain(7.0, "Teams: rate limit reached")),
        (503, TryAgain(7.0, "Teams answered 503")),
        (400, GiveUp("Teams rejected the card (400)")),
        (413, GiveUp("Teams rejected the card (413)")),
        (302, Unusable("Teams rejects this workflow (302); set TEAMS_URL")),
        (404, Unusable("Teams rejects this workflow (404); set TEAMS_URL")),
    ],
)
async def test_status_decides_the_outcome(
    workflow: FakeService, channel: TeamsChannel, status: int, outcome: Outcome
) -> None:
    workflow.respond(status, retry_after="7", location="http://127.0.0.1:1/elsewhere")
    assert await channel.send(page_message()) == outcome
    assert len(workflow.calls) == 1


async def test_silence_is_a_temporary_failure(workflow: FakeService) -> None:
    workflow.hang()
    outcome = await TeamsChannel("teams", workflow.url, "", timeout_seconds=0.1).send(page_message())
    assert outcome == TryAgain(None, "Teams: no answer within 0.1 s")
