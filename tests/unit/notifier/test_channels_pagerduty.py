"""Pages as alerts in PagerDuty, over a real socket to a fake of its Events API."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.channels.pagerduty import PagerDutyChannel
from services.notifier.domain.alert import Alert, AlertState, dispatch_of, followed_up
from services.notifier.domain.clock import ResponseClock
from tests.fakes.pages import ATTACKS, hostile_message, page_message
from tests.fakes.services import FakeService
from tests.unit.notifier.router_records import NINE

KEY = "R0UTINGKEY0000000000000000000000"
BAD_KEY = b'{"status":"invalid event","errors":["Invalid routing key"]}'


@pytest_asyncio.fixture
async def pagerduty() -> AsyncIterator[FakeService]:
    async with FakeService(202) as fake:
        yield fake


@pytest.fixture
def channel(pagerduty: FakeService) -> PagerDutyChannel:
    return PagerDutyChannel("oncall", KEY, "set PAGERDUTY_KEY", f"{pagerduty.url}/", timeout_seconds=60.0)


async def test_page_triggers_the_alert_of_its_lead(pagerduty: FakeService, channel: PagerDutyChannel) -> None:
    assert await channel.send(page_message()) == Sent("firsthour:lead-1")
    [call] = pagerduty.calls
    assert (call.method, call.target) == ("POST", "/v2/enqueue")
    event = call.json
    assert (event["routing_key"], event["event_action"], event["dedup_key"]) == (KEY, "trigger", "firsthour:lead-1")
    assert event["payload"]["summary"].startswith("Hot lead")
    assert event["payload"]["severity"] == "error"
    assert datetime.fromisoformat(event["payload"]["timestamp"]).tzinfo is not None
    assert event["payload"]["custom_details"]["recipient"] == "Bo Chen"


async def test_test_page_leaves_no_alert_open(pagerduty: FakeService, channel: PagerDutyChannel) -> None:
    await channel.send(page_message(kind="test"))
    assert [(call["event_action"], call["dedup_key"]) for call in pagerduty.accepted] == [
        ("trigger", f"firsthour:test:{page_message().page_id}"),
        ("resolve", f"firsthour:test:{page_message().page_id}"),
    ]


@pytest.mark.parametrize("text", ATTACKS)
async def test_text_from_outside_stays_within_the_limits(
    pagerduty: FakeService, channel: PagerDutyChannel, text: str
) -> None:
    await channel.send(hostile_message(text))
    event = pagerduty.calls[0].json
    assert len(event["dedup_key"]) <= 255
    assert len(event["payload"]["summary"]) <= 1_024
    assert len(pagerduty.calls[0].body) < 64 * 1024
    assert not any("\n" in value or "\u202e" in value for value in strings(event))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (202, b"{}", Sent("firsthour:lead-1")),
        (400, b'{"errors":["summary is missing"]}', GiveUp("PagerDuty rejected the event (400)")),
        (400, BAD_KEY, Unusable("PagerDuty rejects the routing key (400); set PAGERDUTY_KEY")),
        (403, b"{}", Unusable("PagerDuty rejects the routing key (403); set PAGERDUTY_KEY")),
        (429, b"{}", TryAgain(7.0, "PagerDuty: rate limit reached")),
        (500, b"{}", TryAgain(7.0, "PagerDuty answered 500")),
    ],
)
async def test_status_decides_the_outcome(
    pagerduty: FakeService, channel: PagerDutyChannel, status: int, body: bytes, outcome: Outcome
) -> None:
    pagerduty.respond(status, body, retry_after="7")
    assert await channel.send(page_message()) == outcome
    assert len(pagerduty.calls) == 1


# --- the alert of a lead -----------------------------------------------------------------------------------------

CLOCK = ResponseClock(lead_id="l1", version=1, urgency="hot", submit_at=NINE, promise_at=NINE, updated_at=NINE)
ACCEPTED = replace(CLOCK, accepted=True)


@pytest.mark.parametrize(
    ("state", "before", "after", "then"),
    [
        ("triggered", CLOCK, CLOCK, []),
        ("triggered", CLOCK, ACCEPTED, ["acknowledge"]),
        ("triggered", ACCEPTED, ACCEPTED, []),  # raised after the accept: a manager's page asks for more than an accept
        ("acknowledge", CLOCK, ACCEPTED, []),
        ("triggered", CLOCK, replace(CLOCK, state="met"), ["resolve"]),
        ("acknowledge", ACCEPTED, replace(ACCEPTED, state="over"), ["resolve"]),
        ("triggered", CLOCK, replace(CLOCK, state="missed"), []),
        ("resolve", CLOCK, replace(CLOCK, state="met"), []),
    ],
)
def test_alert_follows_its_clock(
    state: AlertState, before: ResponseClock, after: ResponseClock, then: list[AlertState]
) -> None:
    changed = list(followed_up([Alert("oncall", "l1", state, NINE)], {"l1": before}, {"l1": after}, NINE))
    assert [alert.state for alert in changed] == then
    for alert in changed:
        assert json.loads(dispatch_of(alert).body) == {"event_action": alert.state, "dedup_key": "firsthour:l1"}
