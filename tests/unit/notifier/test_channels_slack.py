"""Pages by Slack, over a real socket to a fake Slack."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from firsthour.runtime.http.client import IDLE_MAX
from services.notifier.channels.base import GiveUp, Sent, TryAgain, Unusable
from services.notifier.channels.slack import SlackChannel, body
from services.notifier.domain.bulkhead import SENDING_AT_ONCE
from services.notifier.domain.message import SlackPlace
from services.notifier.domain.standing import ALL_ACTIONS, PageStanding
from tests.fakes.pages import ATTACKS, NINE, hostile_message, page_message
from tests.fakes.slack import FakeSlack

SAMPLES = Path(__file__).parent / "slack_samples.jsonl"
"""The messages of `test_messages_are_byte_for_byte_those_of_the_samples`, one a line."""


@pytest_asyncio.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake


@pytest_asyncio.fixture
async def channel(slack: FakeSlack) -> AsyncIterator[SlackChannel]:
    channel = SlackChannel("xoxb-secret", slack.url, timeout_seconds=60.0)
    yield channel
    await channel.close()


async def test_page_arrives_at_the_rep_with_its_page_id(slack: FakeSlack, channel: SlackChannel) -> None:
    sent = await channel.send(page_message())
    assert isinstance(sent, Sent)
    assert sent.provider_id.startswith("DU0BO:")
    assert slack.recipients == ["U0BO"]
    assert slack.tokens == ["Bearer xoxb-secret"]
    message = slack.messages[0]
    assert message["text"] == "Hot lead: call Ann Lee (Acme) by 10:00 UTC"
    assert message["metadata"]["event_payload"]["page_id"] == page_message().page_id
    assert (message["unfurl_links"], message["unfurl_media"], message["link_names"]) == (False, False, False)


async def test_attempts_of_one_page_share_an_id_that_other_pages_do_not_have(
    slack: FakeSlack, channel: SlackChannel
) -> None:
    for page in (page_message(), page_message(), page_message(page_id="another")):
        await channel.send(page)
    first, second, third = (message["client_msg_id"] for message in slack.messages)
    assert first == second != third


async def test_connection_is_reused(slack: FakeSlack, channel: SlackChannel) -> None:
    for _ in range(5):
        assert isinstance(await channel.send(page_message()), Sent)
    assert slack.connections == 1


async def test_many_pages_are_sent_concurrently(slack: FakeSlack, channel: SlackChannel) -> None:
    pages = [page_message(page_id=f"page-{n}", person_slack=f"U{n}") for n in range(50)]
    outcomes = await asyncio.gather(*(channel.send(page) for page in pages))
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert sorted(slack.recipients) == sorted(f"U{n}" for n in range(50))


async def test_hanging_calls_do_not_delay_another_page(slack: FakeSlack, channel: SlackChannel) -> None:
    slack.hang(times=SENDING_AT_ONCE)
    async with asyncio.timeout(60):
        hanging = [
            asyncio.create_task(channel.send(page_message(person_slack=f"U{n}"))) for n in range(SENDING_AT_ONCE)
        ]
        while slack.calls < SENDING_AT_ONCE:
            await asyncio.sleep(0.01)
        assert isinstance(await channel.send(page_message(person_slack="UNEXT")), Sent)
    assert slack.recipients == ["UNEXT"]
    for task in hanging:
        task.cancel()
    endings = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(ending) for ending in endings} == {asyncio.CancelledError}


async def test_idle_connections_are_kept_up_to_a_limit_after_a_burst(slack: FakeSlack, channel: SlackChannel) -> None:
    await asyncio.gather(*(channel.send(page_message(person_slack=f"U{n}")) for n in range(SENDING_AT_ONCE)))
    connections = slack.connections
    assert connections > IDLE_MAX
    async with asyncio.timeout(60):
        while slack.open_connections > IDLE_MAX:
            await asyncio.sleep(0.01)
    assert slack.open_connections == IDLE_MAX
    await asyncio.gather(*(channel.send(page_message(person_slack=f"U{n}")) for n in range(IDLE_MAX)))
    assert slack.connections == connections


async def test_rate_limit_is_temporary_and_returns_the_wait(slack: FakeSlack, channel: SlackChannel) -> None:
    slack.respond(status=429, retry_after=3, times=2)
    assert await channel.send(page_message()) == TryAgain(3.0, "Slack: rate limit reached")
    slack.error("ratelimited", retry_after=7)
    assert isinstance(await channel.send(page_message()), TryAgain)
    assert await channel.send(page_message()) == TryAgain(7.0, "Slack: rate limit reached")
    assert isinstance(await channel.send(page_message()), Sent)


async def test_long_retry_after_is_cut_to_five_minutes(slack: FakeSlack, channel: SlackChannel) -> None:
    slack.respond(status=429, retry_after=86_400)
    assert await channel.send(page_message()) == TryAgain(300.0, "Slack: rate limit reached")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_server_error_is_temporary(slack: FakeSlack, channel: SlackChannel, status: int) -> None:
    slack.respond(status)
    assert isinstance(await channel.send(page_message()), TryAgain)


@pytest.mark.parametrize("answer", ["<html>gateway</html>", "", "[]", '{"ok": "yes"}', "null", "\xff"])
async def test_answer_that_is_not_slack_json_is_temporary(slack: FakeSlack, channel: SlackChannel, answer: str) -> None:
    slack.respond(200, body=answer)
    assert isinstance(await channel.send(page_message()), TryAgain)


async def test_oversized_answer_is_temporary(slack: FakeSlack, channel: SlackChannel) -> None:
    slack.respond(200, body="[" * 1_000_000)
    assert isinstance(await channel.send(page_message()), TryAgain)


@pytest.mark.parametrize("code", ["internal_error", "fatal_error", "service_unavailable", "request_timeout"])
async def test_internal_error_of_slack_is_temporary(slack: FakeSlack, channel: SlackChannel, code: str) -> None:
    slack.error(code)
    assert isinstance(await channel.send(page_message()), TryAgain)


@pytest.mark.parametrize(
    "code",
    ["channel_not_found", "is_archived", "user_not_found", "not_in_channel", "msg_too_long", "invalid_blocks", "novel"],
)
async def test_rejection_is_permanent_and_names_the_error(slack: FakeSlack, channel: SlackChannel, code: str) -> None:
    slack.error(code)
    outcome = await channel.send(page_message())
    assert isinstance(outcome, GiveUp)
    assert code in outcome.why


@pytest.mark.parametrize("code", ["invalid_auth", "account_inactive", "token_revoked", "not_authed"])
async def test_wrong_token_makes_the_channel_unusable_and_names_the_setting(
    slack: FakeSlack, channel: SlackChannel, code: str
) -> None:
    slack.error(code)
    assert await channel.send(page_message()) == Unusable(
        f"Slack rejects this installation: {code}; check FIRSTHOUR_SLACK_BOT_TOKEN"
    )


async def test_missing_scope_makes_the_channel_unusable_and_names_the_scope(
    slack: FakeSlack, channel: SlackChannel
) -> None:
    slack.error("missing_scope")
    outcome = await channel.send(page_message())
    assert isinstance(outcome, Unusable)
    assert "chat:write" in outcome.why


async def test_unreadable_error_text_is_not_passed_on(slack: FakeSlack, channel: SlackChannel) -> None:
    slack.error("ann@acme.example said\nno")
    assert await channel.send(page_message()) == GiveUp("Slack rejected the page: an unreadable error")


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
async def test_unexpected_status_makes_the_channel_unusable(
    slack: FakeSlack, channel: SlackChannel, status: int
) -> None:
    slack.respond(status)
    assert isinstance(await channel.send(page_message()), Unusable)
    assert slack.calls == 1


async def test_connection_reset_is_temporary_whether_or_not_the_message_arrived(
    slack: FakeSlack, channel: SlackChannel
) -> None:
    slack.drop()
    slack.accept_then_drop()
    assert isinstance(await channel.send(page_message()), TryAgain)
    assert slack.recipients == []
    assert isinstance(await channel.send(page_message()), TryAgain)
    assert slack.recipients == ["U0BO"]


async def test_silent_slack_ends_in_the_timeout(slack: FakeSlack) -> None:
    channel = SlackChannel("xoxb-secret", slack.url, timeout_seconds=0.1)
    slack.hang()
    async with asyncio.timeout(60):
        assert await channel.send(page_message()) == TryAgain(None, "Slack: no answer within 0.1 s")
    assert isinstance(await channel.send(page_message()), Sent)
    await channel.close()


async def test_refused_connection_is_temporary(slack: FakeSlack, channel: SlackChannel) -> None:
    await slack.stop()
    assert isinstance(await channel.send(page_message()), TryAgain)


async def test_person_without_a_slack_id_gets_no_message(slack: FakeSlack, channel: SlackChannel) -> None:
    assert isinstance(await channel.send(page_message(person_slack=None)), GiveUp)
    assert slack.calls == 0


def _texts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") in ("plain_text", "mrkdwn"):
            yield value
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


MARKUP = re.compile(
    r"<https://firsthour\.example/leads/lead-1\|Open the lead>"
    r"|<!date\^\d{10}\^(\{ago\}|\{date_short_pretty\} at \{time\})\|[\w: ()+-]+>"
    r"|<tel:\+\d{6,15}\|\+[\d -]+>"
    r"|<mailto:[A-Za-z0-9.+@-]+\?subject=Your%20request\|[A-Za-z0-9.+@-]+>"
)
"""All markup that a page may have."""


def _assert_inert(message: dict[str, Any]) -> None:
    for block in message["blocks"]:
        parsed = Block.parse(block)  # the models of the SDK check types and limits
        assert parsed is not None
        assert parsed.to_dict() == block
    assert len(message["blocks"]) <= 50
    assert not set(message["text"]) & {"<", ">"}
    assert message["mrkdwn"] is False
    for text in _texts(message["blocks"]):
        if text["type"] == "mrkdwn":
            assert not set(MARKUP.sub("", text["text"])) & set("<>*_~`"), text["text"]
        else:
            assert not set(text["text"]) & {"<", ">"}
            assert not re.search("&(?!(amp|lt|gt);)", text["text"])
            assert "://" not in text["text"]
            assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x1b]", text["text"])
    header, fields = message["blocks"][0], message["blocks"][1]
    assert len(header["text"]["text"]) <= 150
    assert len(fields["fields"]) <= 10
    assert len(json.dumps(message)) < 40_000


def _marked(page: dict[str, Any]) -> list[str]:
    return [text["text"] for text in _texts(page["blocks"]) if text["type"] == "mrkdwn"]


def test_times_are_shown_by_the_date_format_of_slack_with_a_fallback_in_the_zone_of_the_rep() -> None:
    deadline, *_, received = _marked(body(page_message(zone="Europe/Berlin")))[:5]
    assert deadline == "Contact by: <!date^1796119200^{date_short_pretty} at {time}|11:00 CET>"
    assert received == "Received: <!date^1796115600^{ago}|10:00 CET (2 minutes earlier)>"


def test_number_and_address_can_be_tapped() -> None:
    marked = _marked(body(page_message()))
    assert "Phone: <tel:+493012345678|+49 30 12345678>" in marked
    assert "Email: <mailto:ann@acme.example?subject=Your%20request|ann@acme.example>" in marked
    unusual = _marked(body(page_message(card_email="a|b_c@acme.example", card_phone="030 12")))
    assert not any("mailto:" in text or "tel:" in text for text in unusual)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attack_is_inert_in_the_slack_message(slack: FakeSlack, channel: SlackChannel, attack: str) -> None:
    assert isinstance(await channel.send(hostile_message(attack)), Sent)
    _assert_inert(slack.messages[0])


@given(st.text(st.characters(), max_size=400))
def test_any_text_is_inert_and_within_the_limits_of_slack(raw: str) -> None:
    _assert_inert(body(hostile_message(raw)))


def test_messages_are_byte_for_byte_those_of_the_samples() -> None:
    pages = [
        page_message(standing=PageStanding(None, ALL_ACTIONS), zone="Europe/Berlin"),
        page_message(kind="manager", promise_at=NINE, slack_thread=SlackPlace("D0MAX", "1.2"), previous=None),
        hostile_message("Müller & Söhne <booking.com> x@y.co.uk"),
    ]
    assert [
        msgspec.json.encode(body(page, clickable=True)).decode() for page in pages
    ] == SAMPLES.read_text().splitlines()
