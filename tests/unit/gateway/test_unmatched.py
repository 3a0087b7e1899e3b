"""Deliveries to which no entry of a mapping applies are counted, and the newest of each type are kept."""

import hmac
import json
from typing import Any

import pytest

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import Summary
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.unit import Unit
from services.gateway import retry, unmatched
from services.gateway.domain.unmatched import vendor_type
from tests.unit.gateway.harness import HMAC_SECRET, Answer, GatewayHarness

CALL = {
    "kind": "call.ended",
    "uuid": "1",
    "ended_at": "2026-12-01T09:00:00Z",
    "customer": {"email": "ann@acme.example"},
}
STARTED = {"kind": "call.started"}


async def deliver(harness: GatewayHarness, *items: dict[str, Any]) -> Answer:
    body = json.dumps(items[0] if len(items) == 1 else items).encode()
    signature = "sha256=" + hmac.digest(HMAC_SECRET.encode(), body, "sha256").hex()
    return await harness.request(
        "POST", "/hooks/phone", {"X-Signature": signature, "content-type": "application/json"}, body
    )


def kept(harness: GatewayHarness) -> list[Summary]:
    with harness.units.engine.connect() as connection:
        return dead_letters.find_by_state(connection, "unmatched", 1_000)


def counted(harness: GatewayHarness) -> int:
    return harness.gateway._counts.take()["phone", "nothing matched"].number


async def test_delivery_that_matches_nothing_is_accepted_counted_and_kept(harness: GatewayHarness) -> None:
    answer = await deliver(harness, STARTED)
    assert (answer.status, answer.json, harness.records) == (202, {"ids": []}, [])
    [letter] = kept(harness)
    assert (letter.source, letter.error.partition(";")[0]) == ("phone", "no entry of `events` applies to this body")
    assert (harness.letters, counted(harness)) == ([], 1)


async def test_items_of_a_list_that_match_nothing_are_counted(harness: GatewayHarness) -> None:
    answer = await deliver(harness, {**CALL, "duration": 60, "agent": {}}, STARTED, STARTED)
    assert (answer.status, len(harness.records), kept(harness), counted(harness)) == (202, 1, [], 2)


async def test_a_body_of_each_type_is_kept_once_a_minute(harness: GatewayHarness) -> None:
    for _ in range(3):
        await deliver(harness, STARTED)
    await deliver(harness, {"kind": "call.queued"})
    assert (len(kept(harness)), counted(harness)) == (2, 4)
    harness.clock.advance(seconds=unmatched.SECONDS)
    await deliver(harness, STARTED)
    assert len(kept(harness)) == 3


async def test_only_the_newest_of_a_type_and_of_a_source_stay(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmatched, "OF_SOURCE_MAX", 7)
    for number in range(8):
        harness.clock.advance(seconds=unmatched.SECONDS)
        await deliver(harness, {**STARTED, "number": number})
    assert [letter.bytes for letter in kept(harness)] == [len(json.dumps({**STARTED, "number": 0}))] * 5
    for number in range(4):
        harness.clock.advance(seconds=1)
        await deliver(harness, {"kind": f"call.{number}"})
    with harness.units.engine.connect() as connection:
        found = [dead_letters.get(connection, letter.id) for letter in kept(harness)]
    assert [json.loads(letter.body)["kind"] for letter in found if letter] == ["call.started"] * 3 + [
        f"call.{number}" for number in range(4)
    ]


async def test_full_disk_leaves_a_delivery_that_matches_nothing_accepted(harness: GatewayHarness) -> None:
    harness.units.full = True
    assert (await deliver(harness, STARTED)).status == 202


async def test_retry_of_a_body_that_still_matches_nothing_fails(harness: GatewayHarness) -> None:
    await deliver(harness, STARTED)
    [summary] = kept(harness)

    def work(unit: Unit) -> list[str]:
        letter = dead_letters.get(unit.connection, summary.id)
        assert letter is not None
        return retry.retry(unit, letter)

    with pytest.raises(Problem, match="Invalid event"):
        await harness.units.run(work)
    assert len(kept(harness)) == 1
    harness.configure(
        "sources: [{id: phone, kind: webhook, verify: {scheme: hmac-sha256, header: X, secrets: [{file: phone.secret}]}, "
        "events: [{type: custom.call, email: \"'ann@acme.example'\"}]}]"
    )
    assert len(await harness.units.run(work)) == 1
    assert (kept(harness), [record.type for record in harness.records]) == ([], ["custom.call"])


@pytest.mark.parametrize(
    ("body", "type"),
    [
        ({"type": "a.b"}, "a.b"),
        ([{"subscriptionType": "contact.creation"}, {}], "contact.creation"),
        ({"event": {"type": "message"}}, "message"),
        ({"type": "x" * 61, "topic": "user.created"}, "user.created"),
        ({"type": "<b>", "event": 5}, ""),
        ([], ""),
        ("text", ""),
    ],
)
def test_type_of_a_body_is_what_the_vendor_states(body: Any, type: str) -> None:
    assert vendor_type(body) == type
