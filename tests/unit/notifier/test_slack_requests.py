"""Requests of Slack: signatures over raw bytes, any body, dialogs within limits, commands, and answers in time."""

import asyncio
import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.signatures import SlackSignature
from firsthour.runtime.storage.unit import StorageError
from schemas.events.routes import LeadCard
from services.notifier import slack_desk
from services.notifier.channels.slack_blocks import buttons, dialog, notice
from services.notifier.channels.slack_web import SlackWeb
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.slack_commands import LEADS_MAX, UnknownTimeError, end_of_absence, leads_text
from services.notifier.domain.slack_request import (
    Asker,
    Pressed,
    Submitted,
    UnreadableRequestError,
    asker_of,
    read_command,
    read_interaction,
)
from services.notifier.domain.standing import ALL_ACTIONS
from services.notifier.slack_desk import SlackDesk
from tests.fakes.pages import ATTACKS
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_clicks import SIGNING_SECRET, command, pressed, signed, submitted
from tests.fakes.slack_limits import message_error, view_error
from tests.unit.notifier.router_records import NINE

PAGE = "0f6b2f0e-7a53-5d0b-9e0e-6a1d0c9a4f11"
SIGNATURE = SlackSignature(SIGNING_SECRET.encode())


def raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


# --- signatures -------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_signature_of_slacks_library_holds(text: str) -> None:
    request = signed(text.encode(), NINE)
    assert SIGNATURE.holds(raw(request.headers), request.body, NINE)


def test_signature_holds_for_five_minutes_and_for_these_bytes_only() -> None:
    request = signed(b"payload=%7B%7D", NINE)
    for seconds, valid in ((300, True), (-300, True), (301, False), (-301, False)):
        assert SIGNATURE.holds(raw(request.headers), request.body, NINE + timedelta(seconds=seconds)) is valid
    assert not SIGNATURE.holds(raw(request.headers), b"payload={}", NINE)
    assert not SlackSignature(b"other").holds(raw(request.headers), request.body, NINE)


@pytest.mark.parametrize("name", ["x-slack-request-timestamp", "x-slack-signature"])
@pytest.mark.parametrize(
    "value", [b"", b"v0=", b"0", b"-1", b"1e9", b"9" * 400, b"\xff", b"v0=\xc3\xa4", b"17645\n79600"]
)
def test_any_header_is_refused_without_an_error(name: str, value: bytes) -> None:
    request = signed(b"payload=%7B%7D", NINE)
    assert not SIGNATURE.holds(raw(request.headers) | {name.encode(): value}, request.body, NINE)


# --- bodies -----------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "user", "id", "actions", "value", "view", "state"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=300) | _JSON.map(lambda value: urlencode({"payload": json.dumps(value)}).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with suppress(UnreadableRequestError):
        assert isinstance(read_interaction(body), Pressed | Submitted | None)
    with suppress(UnreadableRequestError):
        assert read_command(body).user
    assert asker_of(body) is None or isinstance(asker_of(body), Asker)


@pytest.mark.parametrize("size", [3_001, 200_000])
def test_oversized_field_is_refused(size: int) -> None:
    message = {"text": "x", "blocks": [buttons(PAGE, ALL_ACTIONS)]}
    body = pressed(message, "accept", "U" * size, "https://hooks.slack.com/x")
    with pytest.raises(UnreadableRequestError):
        read_interaction(body)


def test_value_that_is_no_page_names_no_page() -> None:
    message = {"text": "x", "blocks": [buttons("' OR 1=1 --", ALL_ACTIONS)]}
    click = read_interaction(pressed(message, "accept", "U0ANA", ""))
    assert isinstance(click, Pressed)
    assert click.page == ""


@pytest.mark.parametrize(("open", "close"), [("[", "]"), ('{"a":', "}")])
def test_payload_that_is_nested_too_deeply_is_refused(open: str, close: str) -> None:
    nested = f"{open * 10_000}1{close * 10_000}"
    with pytest.raises(UnreadableRequestError):
        read_interaction(
            urlencode({"payload": f'{{"type": "block_actions", "user": {{"id": "U"}}, "x": {nested}}}'}).encode()
        )


def test_request_that_could_not_be_told_from_a_replay_is_refused() -> None:
    payloads: list[dict[str, Any]] = [
        {"type": "block_actions", "user": {"id": "U"}, "actions": [{"action_id": "firsthour.accept", "value": PAGE}]},
        {"type": "view_submission", "user": {"id": "U"}, "view": {"callback_id": "firsthour.reject"}},
    ]
    for payload in payloads:
        with pytest.raises(UnreadableRequestError, match="replay"):
            read_interaction(urlencode({"payload": json.dumps(payload)}).encode())
    with pytest.raises(UnreadableRequestError, match="replay"):
        read_command(urlencode({"command": "/away", "user_id": "U0ANA"}).encode())


def test_many_fields_are_refused() -> None:
    with pytest.raises(UnreadableRequestError):
        read_command(b"&".join(b"a=1" for _ in range(10_000)))


# --- what Slack shows -------------------------------------------------------------------------------------------


def test_buttons_and_dialogs_are_within_the_limits_of_slack() -> None:
    block = buttons(PAGE, ALL_ACTIONS)
    parsed = Block.parse(block)
    assert parsed is not None
    assert parsed.to_dict() == block
    assert message_error({"text": "x", "blocks": [block]}) is None
    choices = [(f"rep-{n}", f"Rep <!channel> {n} " + "x" * 200) for n in range(300)]
    for action in ("reject", "hand_over"):
        view = dialog(action, PAGE, choices)
        assert view_error(view) is None
        groups = view["blocks"][0]["element"]["option_groups"]
        assert [len(group["options"]) for group in groups] == [100, 100, 100]
        assert "<" not in json.dumps(view)
    assert view_error(notice("no & <no> " * 1_000)) is None


def test_fake_slack_refuses_what_slack_refuses() -> None:
    section = {"type": "section", "text": {"type": "plain_text", "text": "x"}}
    header = {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}
    twice = [{**section, "block_id": "a"}, {**section, "block_id": "a"}]
    wrong: list[Any] = [[section] * 51, [header], twice, [{"type": "section"}], [{"type": "actions", "elements": []}]]
    assert [message_error({"text": "x", "blocks": blocks}) for blocks in wrong] == ["invalid_blocks"] * len(wrong)
    assert message_error({"text": "", "blocks": []}) == "no_text"
    assert message_error({"text": "x" * 40_001}) == "msg_too_long"


async def test_fake_slack_accepts_one_message_a_second_in_each_channel() -> None:
    seconds = 0.0
    async with FakeSlack(seconds=lambda: seconds) as slack:
        web = SlackWeb("xoxb-1", slack.url)
        statuses = []
        for channel, at in (("U1", 0.0), ("U1", 0.5), ("U2", 0.5), ("U1", 1.0)):
            seconds = at
            answer = await web._endpoint.post_json(
                "chat.postMessage", msgspec.json.encode({"channel": channel, "text": "x"})
            )
            statuses.append((answer.status, answer.headers.get("retry-after")))
    assert statuses == [(200, None), (429, "1"), (200, None), (200, None)]


# --- commands ---------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("", None),
        ("2h", "2026-12-01T11:00:00Z"),
        ("1d", "2026-12-02T09:00:00Z"),
        ("17:30", "2026-12-01T16:30:00Z"),
        ("9.30", "2026-12-02T08:30:00Z"),
        ("2026-12-24", "2026-12-24T23:00:00Z"),
        ("2026-12-24T12:00", "2026-12-24T11:00:00Z"),
        ("2026-12-24T12:00+00:00", "2026-12-24T12:00:00Z"),
    ],
)
def test_end_of_an_absence(text: str, end: str | None) -> None:
    assert end_of_absence(text, NINE, BERLIN) == (datetime.fromisoformat(end) if end else None)


@pytest.mark.parametrize(
    "text", ["soon", "0m", "25:00", "2026-02-30", "2020-01-01", "9999-12-31", "99999w", "-1h", "2030-01-01"]
)
def test_time_that_is_not_understood_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UnknownTimeError, match="/away 17:30"):
        end_of_absence(text, NINE, BERLIN)


def clock_of(card: LeadCard, promise_at: datetime = NINE) -> ResponseClock:
    return ResponseClock(
        lead_id="l1", version=1, urgency="hot", submit_at=NINE, promise_at=promise_at, updated_at=NINE, card=card
    )


@given(st.sampled_from([*ATTACKS, "x" * 100_000]) | st.text(max_size=100))
def test_names_in_the_list_of_leads_are_inert(raw_text: str) -> None:
    text = leads_text([clock_of(LeadCard(name=raw_text, company=raw_text))], 0, NINE)
    without_time = re.sub(r"<!date\^\d+\^\{date_short_pretty\} \{time\}\|[\d: ]+UTC>", "", text)
    assert not set(without_time) & {"<", ">"}
    assert len(text.splitlines()) == 2
    assert len(text) < 600
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069]", text)


def test_list_of_leads_is_bounded_and_the_soonest_come_first() -> None:
    clocks = [clock_of(LeadCard(name=f"N{n}"), NINE + timedelta(minutes=n)) for n in range(LEADS_MAX + 1)]
    lines = leads_text(clocks, 3, NINE).splitlines()
    assert len(lines) == LEADS_MAX + 3
    assert (lines[1].startswith("• N0: *overdue* since"), lines[-1]) == (True, "3 more in progress.")


# --- time and network -------------------------------------------------------------------------------------------


class SlowReads:
    """A database that answers when it is let go."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self._failure = failure

    async def __call__(self, query: Any) -> Any:
        await self.go.wait()
        if self._failure is not None:
            raise self._failure


async def test_slow_database_does_not_delay_the_answer_and_the_person_is_told() -> None:
    async with FakeSlack() as slack:
        reads = SlowReads()
        desk = desk_on(reads, slack)
        message = {"text": "x", "blocks": [buttons(PAGE, ALL_ACTIONS)]}
        assert await desk.interaction(pressed(message, "accept", "U0ANA", slack.response_url)) == b""
        late = await desk.interaction(submitted(dialog("reject", PAGE, [("a", "a")]), "a", "U0ANA"))
        assert "FirstHour is busy" in late.decode()
        reads.go.set()
        async with asyncio.timeout(30):
            while not slack.replies:
                await asyncio.sleep(0.01)
        assert "too old" in slack.replies[0]["text"]


def desk_on(reads: SlowReads, slack: FakeSlack) -> SlackDesk:
    """Return a desk of a team of one rep, Ana."""
    rep = SimpleNamespace(id="ana", slack="U0ANA", active=True)
    config = SimpleNamespace(current=SimpleNamespace(team=SimpleNamespace(reps=[rep])))
    resources = cast(Any, SimpleNamespace(config=config, reads=reads))
    return SlackDesk(resources, cast(Any, None), SlackWeb("xoxb-1", slack.url), answer_seconds=0.05)


async def test_database_that_fails_late_is_told_to_the_person() -> None:
    async with FakeSlack() as slack:
        reads = SlowReads(StorageError("away"))
        message = {"text": "x", "blocks": [buttons(PAGE, ALL_ACTIONS)]}
        assert await desk_on(reads, slack).interaction(pressed(message, "accept", "U0ANA", slack.response_url)) == b""
        reads.go.set()
        async with asyncio.timeout(30):
            while not slack.replies:
                await asyncio.sleep(0.01)
        assert "click again if nothing has changed" in slack.replies[0]["text"]


async def test_requests_beyond_the_bound_are_refused_while_the_database_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_desk, "TASKS_MAX", 2)
    message = {"text": "x", "blocks": [buttons(PAGE, ALL_ACTIONS)]}
    async with FakeSlack() as slack:
        reads = SlowReads()
        desk = desk_on(reads, slack)
        for _ in range(2):
            assert await desk.interaction(pressed(message, "accept", "U0ANA", slack.response_url)) == b""
        refused = (
            desk.interaction(pressed(message, "accept", "U0ANA", slack.response_url)),
            desk.interaction(submitted(dialog("reject", PAGE, [("a", "a")]), "a", "U0ANA")),
            desk.command(command("/leads", "", "U0ANA")),
        )
        for request in refused:
            with pytest.raises(Problem) as refusal:
                await request
            assert refusal.value.status == 503
        reads.go.set()
        async with asyncio.timeout(30):
            while len(slack.replies) < 2:
                await asyncio.sleep(0.01)
        assert await desk.interaction(pressed(message, "accept", "U0ANA", slack.response_url)) == b""


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/x",
        "https://evil.example/x",
        "https://hooks.slack.com.evil.example/",
        "",
        "\0",
        "https://[",
        "https://\u2100.com/",
        "https://hooks.slack.com:port/",
        "https://hooks.slack.com/\n",
    ],
)
async def test_answers_go_to_slack_only(url: str) -> None:
    async with FakeSlack() as slack:
        assert not await SlackWeb("xoxb-1", slack.url).tell(url, "text")
        assert slack.replies == []


async def test_answer_that_slack_does_not_take_is_not_an_error() -> None:
    async with FakeSlack() as slack:
        web = SlackWeb("xoxb-1", slack.url)
        slack.error("expired_trigger_id")
        assert not await web.open_dialog("t", dialog("reject", PAGE, [("a", "a")]))
        assert await web.open_dialog("t", dialog("reject", PAGE, [("a", "a")]))
    assert not await web.open_dialog("t", notice("x"))
