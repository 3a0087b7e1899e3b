"""POST /v1/events: events in the short form and CloudEvents, stored before they are answered."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings import http as peer
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from firsthour.kernel.time_units import EPOCH
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.middleware import Message
from firsthour.runtime.storage.unit import Unit
from services.gateway import retry
from tests.unit.gateway.harness import GatewayHarness

ANN = {"id": "1", "type": "page.viewed", "email": "ann@acme.example", "data": {"path": "/pricing"}}
PLAIN = {"content-type": "application/json"}


def key(harness: GatewayHarness, role: str = "ingest") -> dict[str, str]:
    return {"authorization": f"Bearer {harness.secrets[role]}"}


async def test_event_is_stored_and_answered_with_the_senders_id(harness: GatewayHarness) -> None:
    answer = await harness.event(ANN)

    assert (answer.status, answer.json) == (202, {"ids": ["1"]})
    [record] = harness.records
    assert (record.row.topic, record.row.key, record.type) == ("events", "ann@acme.example", "page.viewed")
    assert record.event.source == "the ingest key"
    assert record.event.fields == {"path": "/pricing"}
    assert record.event.received_at == harness.clock.business()


async def test_retry_has_the_same_event_id_and_another_source_has_not(harness: GatewayHarness) -> None:
    for sent in (ANN, ANN, {**ANN, "source": "crm"}, {**ANN, "source": ""}):
        await harness.event(sent)
    await harness.event(ANN, role="sales")
    first, again, crm, same, others = (row.event_id for row in harness.units.rows)
    assert first == again == same
    assert len({first, crm, others}) == 3


async def test_list_is_stored_whole_or_not_at_all(harness: GatewayHarness) -> None:
    assert (await harness.event([ANN, {**ANN, "id": 2}])).json == {"ids": ["1", "2"]}
    answer = await harness.event([ANN, {**ANN, "email": "nobody"}])
    assert (answer.status, answer.pointer) == (422, "#/1/email")
    assert len(harness.units.rows) == 2


async def test_storage_failure_is_503(harness: GatewayHarness) -> None:
    harness.units.full = True
    for answer in (await harness.event(ANN), await harness.event(ANN, idempotency_key="k"), await harness.event({})):
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"
    assert harness.records == []


@pytest.mark.parametrize("authorization", [{}, {"authorization": "Bearer fh_1_2"}, {"authorization": "Basic x"}])
async def test_unknown_api_key_is_401(harness: GatewayHarness, authorization: dict[str, str]) -> None:
    answer = await harness.request("POST", "/v1/events", PLAIN | authorization, b"{")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert harness.letters == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b"\xff\xfe{\x00", b" ", b"{}x"])
async def test_body_that_is_not_json_is_answered_as_invalid_json(harness: GatewayHarness, body: bytes) -> None:
    answer = await harness.request("POST", "/v1/events", PLAIN | key(harness), body)
    assert (answer.status, answer.json["type"], answer.json["title"]) == (
        400,
        "urn:firsthour:problem:invalid-json",
        "Invalid JSON",
    )


async def test_unmappable_body_is_kept_unchanged(harness: GatewayHarness) -> None:
    for body in (
        b"{",
        b"\xff",
        b'{"id":"1","type":"page.viewed"}',
        b'"x"',
        b"[1]",
        b'{"a":1,"a":2}',
        b"[" * 100 + b"]" * 100,
    ):
        answer = await harness.request("POST", "/v1/events", PLAIN | key(harness), body)
        assert answer.status in (400, 422)
        letter = harness.letters[-1]
        assert answer.json["dead_letter"] == letter.id
        assert (letter.body, letter.origin, letter.source) == (body, "/v1/events", "the ingest key")
        harness.clock.advance(seconds=1)


async def test_corrected_dead_letter_happens_when_it_was_received(harness: GatewayHarness) -> None:
    await harness.event({**ANN, "type": "page.veiwed"})
    came = harness.clock.now
    harness.clock.advance(hours=5)
    [letter] = harness.letters

    ids = await harness.units.run(lambda unit: retry.retry(unit, letter, letter.body.replace(b"veiwed", b"viewed")))

    assert ids == ["1"]
    [record] = harness.records
    assert record.event.received_at == came
    assert harness.letters == []
    await harness.event(ANN)
    assert record.row.event_id == harness.records[-1].row.event_id  # the corrected event of the sender has the same id


async def test_dead_letter_that_fails_again_stays(harness: GatewayHarness) -> None:
    await harness.event({**ANN, "type": "page.veiwed"})
    [letter] = harness.letters
    with pytest.raises(Exception, match="422"):
        await harness.units.run(lambda unit: retry.retry(unit, letter))
    assert (harness.letters, harness.records) == ([letter], [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({}, 415),
        ({"content-type": "application/json; charset=iso-8859-1"}, 202),
        ({"content-type": "application/json; charset=unicode_escape"}, 202),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "Application/JSON; charset=UTF-8"}, 202),
        ({"content-type": "application/json", "content-encoding": "identity"}, 202),
    ],
)
async def test_other_media_types_are_415(harness: GatewayHarness, headers: dict[str, str], status: int) -> None:
    assert (
        await harness.request("POST", "/v1/events", headers | key(harness), json.dumps(ANN).encode())
    ).status == status


@pytest.mark.parametrize("chunk", [0, 1_000])
async def test_body_in_parts_is_accepted_up_to_the_limit(harness: GatewayHarness, chunk: int) -> None:
    filled = {**ANN, "data": {"a": "x" * 60_000, "b": "x" * 60_000}}
    assert (
        await harness.request("POST", "/v1/events", PLAIN | key(harness), json.dumps(filled).encode(), chunk)
    ).status == 202
    too_large = await harness.request("POST", "/v1/events", PLAIN | key(harness), b" " * 256 * 1024 + b"1", chunk)
    assert too_large.status == 413


async def test_late_body_is_accepted(harness: GatewayHarness) -> None:
    body, arrived, sent = json.dumps(ANN).encode(), asyncio.Event(), list[Message]()

    async def receive() -> Message:
        await arrived.wait()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (PLAIN | key(harness)).items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": raw, "query_string": b""}
    asking = asyncio.create_task(harness.gateway(scope, receive, send))
    await asyncio.sleep(0)
    assert sent == []
    arrived.set()
    await asking
    assert sent[0]["status"] == 202


async def test_disconnect_before_the_end_of_the_body_is_400(harness: GatewayHarness) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": [], "query_string": b""}
    await harness.gateway(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_replaced_characters_mark_the_event_as_altered(harness: GatewayHarness) -> None:
    body = b'{"id":"1","type":"page.viewed","email":"ann@acme.example","data":{"path":"a\\u0000b\\ud800"}}'
    assert (await harness.request("POST", "/v1/events", PLAIN | key(harness), body)).status == 202
    [record] = harness.records
    assert (record.event.altered, record.event.fields) == (True, {"path": "a\ufffdb\ufffd"})


async def test_answers_carry_the_request_id(harness: GatewayHarness) -> None:
    answer = await harness.event(ANN, x_request_id="my-request-1")
    assert answer.headers["x-request-id"] == "my-request-1"
    answer = await harness.event({}, x_request_id="no")
    assert answer.json["instance"] == f"urn:firsthour:request:{answer.headers['x-request-id']}"
    assert answer.headers["x-request-id"] != (await harness.event({})).headers["x-request-id"]


async def test_other_paths_reach_the_inner_application(harness: GatewayHarness) -> None:
    for method, path in (
        ("GET", "/v1/events"),
        ("POST", "/v1/leads"),
        ("POST", "/v1/events/"),
        ("GET", "/hooks/phone"),
    ):
        assert (await harness.request(method, path)).body == b"behind"


async def test_accepted_events_are_counted(harness: GatewayHarness) -> None:
    await harness.event([ANN, {**ANN, "id": "2"}])
    await harness.event({})
    text = harness.telemetry.text().decode()
    assert 'events_accepted_total{source="the ingest key"} 2.0' in text
    assert 'http_requests_total{method="POST",route="/v1/events",status="202"} 1.0' in text
    assert 'dead_letters_total{consumer="gateway"} 1.0' in text


# --- Idempotency-Key ----------------------------------------------------------------------------------------------


async def test_repeated_idempotency_key_replays_the_answer(harness: GatewayHarness) -> None:
    first = await harness.event(ANN, idempotency_key="k1")
    again = await harness.event(ANN, idempotency_key='"k1"')
    assert (again.status, again.body) == (first.status, first.body) == (202, b'{"ids":["1"]}')
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(harness.records) == 1


async def test_idempotency_key_of_another_request_is_422(harness: GatewayHarness) -> None:
    await harness.event(ANN, idempotency_key="k1")
    answer = await harness.event({**ANN, "id": "2"}, idempotency_key="k1")
    assert (answer.status, answer.pointer) == (422, "header:Idempotency-Key")
    assert (
        await harness.event({**ANN, "id": "2"}, role="sales", idempotency_key="k1")
    ).status == 202  # another sender's key
    assert len(harness.records) == 2


async def test_idempotency_key_expires_after_a_day(harness: GatewayHarness) -> None:
    await harness.event(ANN, idempotency_key="k1")
    harness.clock.advance(hours=25)
    assert (await harness.event({**ANN, "id": "2"}, idempotency_key="k1")).status == 202


@pytest.mark.parametrize("key", ["", " ", '""', "x" * 256, "a\x01b"])
async def test_malformed_idempotency_key_is_rejected(harness: GatewayHarness, key: str) -> None:
    assert (await harness.event(ANN, idempotency_key=key)).status == 400
    assert harness.records == []


# --- CloudEvents ----------------------------------------------------------------------------------------------------


def peers_event(**attributes: Any) -> CloudEvent:
    defaults = {
        "id": "a 1",
        "type": "page.viewed",
        "source": "/shop/€",
        "subject": "Ann@acme.example",
        "time": datetime(2026, 11, 30, 8, 0, tzinfo=UTC),
        "datacontenttype": "application/json",
        "tenant": "ignored",
    }
    return CloudEvent({**defaults, **attributes}, {"path": "/prices", "company": {"name": "Acmé"}})


@pytest.mark.parametrize("encode", [peer.to_structured, peer.to_binary])
async def test_cloudevents_of_the_reference_package_are_accepted(harness: GatewayHarness, encode: Any) -> None:
    message = encode(peers_event(), JSONFormat())
    answer = await harness.request("POST", "/v1/events", message.headers | key(harness), message.body)
    assert (answer.status, answer.json) == (202, {"ids": ["a 1"]})
    [record] = harness.records
    assert (record.type, record.at, record.event.email) == (
        "page.viewed",
        "2026-11-30T08:00:00+00:00",
        "ann@acme.example",
    )
    assert record.event.fields == {"path": "/prices"}
    assert record.event.person == {"company.name": "Acmé"}


async def test_cloudevent_modes_and_short_form_give_the_same_event_id(harness: GatewayHarness) -> None:
    for encode in (peer.to_structured, peer.to_binary):
        message = encode(peers_event(), JSONFormat())
        await harness.request("POST", "/v1/events", message.headers | key(harness), message.body)
    await harness.event({**ANN, "id": "a 1", "source": "/shop/€"})
    assert len({row.event_id for row in harness.units.rows}) == 1


async def test_reference_package_reads_records_of_the_log(harness: GatewayHarness) -> None:
    await harness.event(ANN)
    [row] = harness.units.rows
    event = JSONFormat().read(None, row.body)
    assert (event.get_id(), event.get_type(), event.get_specversion()) == (row.event_id, "page.viewed", "1.0")
    assert event.get_extension("partitionkey") == "ann@acme.example"
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["email"] == "ann@acme.example"


async def test_batch_of_cloudevents_is_accepted(harness: GatewayHarness) -> None:
    one = json.loads(peer.to_structured(peers_event(), JSONFormat()).body)
    headers = {"content-type": "application/cloudevents-batch+json"} | key(harness)
    answer = await harness.request("POST", "/v1/events", headers, json.dumps([one, {**one, "id": "2"}]).encode())
    assert (answer.status, answer.json) == (202, {"ids": ["a 1", "2"]})
    assert (await harness.request("POST", "/v1/events", headers, b"[]")).json == {"ids": []}
    assert (await harness.request("POST", "/v1/events", headers, json.dumps(one).encode())).status == 422


async def test_base64_data_is_decoded(harness: GatewayHarness) -> None:
    one = {"specversion": "1.0", "id": "1", "source": "s", "type": "page.viewed"}
    encoded = base64.b64encode(b'{"email":"ann@acme.example"}').decode()
    assert (await harness.event({**one, "data_base64": encoded})).status == 202
    for invalid in ("***", base64.b64encode(b"{").decode(), 5):
        assert (await harness.event({**one, "data_base64": invalid})).status in (400, 422)


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [({"specversion": "0.3"}, "#/specversion"), ({"source": ""}, "#/source"), ({"id": None}, "#/id")],
)
async def test_incomplete_cloudevent_is_rejected(
    harness: GatewayHarness, changed: dict[str, Any], pointer: str
) -> None:
    one = {"specversion": "1.0", "id": "1", "source": "s", "type": "page.viewed", "subject": "ann@acme.example"}
    assert (await harness.event({**one, **changed})).pointer == pointer


async def test_unmappable_binary_cloudevent_is_kept_with_its_headers(harness: GatewayHarness) -> None:
    message = peer.to_binary(peers_event(type="page.veiwed"), JSONFormat())
    answer = await harness.request("POST", "/v1/events", message.headers | key(harness), message.body)
    assert answer.status == 422
    [letter] = harness.letters
    await harness.units.run(lambda unit: retry.retry(unit, letter, letter.body.replace(b"veiwed", b"viewed")))
    [record] = harness.records
    assert (record.event.source_id, record.event.person) == ("a 1", {"company.name": "Acmé"})


async def test_ce_header_that_is_not_utf_8_is_rejected(harness: GatewayHarness) -> None:
    message = peer.to_binary(peers_event(), JSONFormat())
    answer = await harness.request(
        "POST", "/v1/events", message.headers | {"ce-id": "%ff"} | key(harness), message.body
    )
    assert (answer.status, answer.pointer) == (422, "header:ce-id")


def test_received_at_follows_a_faster_clock(harness: GatewayHarness) -> None:
    fast = HostClock(60.0, EPOCH, EPOCH)
    with harness.units.engine.begin() as connection:
        unit = Unit(connection, fast, harness.files.current)
        at = retry.received_at(unit, fast.real() - timedelta(minutes=1))
        assert abs(unit.now - at - timedelta(hours=1)) < timedelta(seconds=30)


async def test_flags_of_events_are_counted(harness: GatewayHarness) -> None:
    await harness.event({**ANN, "time": 0, "data": {"status": "won", "total": 9}})
    [record] = harness.records
    assert (record.event.flags, record.event.dropped) == (("facts-dropped", "time-replaced"), 2)
    text = harness.telemetry.text().decode()
    assert 'event_flags_total{flag="time-replaced"} 1.0' in text
    assert 'event_flags_total{flag="facts-dropped"} 1.0' in text


async def test_json_that_is_not_utf_8_uses_the_declared_charset(harness: GatewayHarness) -> None:
    body = json.dumps({**ANN, "data": {"name": "M\xfcller"}}, ensure_ascii=False)
    for sent in (body.encode(), body.encode("latin-1")):
        answer = await harness.request(
            "POST", "/v1/events", key(harness) | {"content-type": "application/json; charset=latin1"}, sent
        )
        assert answer.status == 202
        assert harness.records[-1].event.person == {"name": "M\xfcller"}
    undeclared = await harness.request("POST", "/v1/events", key(harness) | PLAIN, body.encode("latin-1"))
    assert undeclared.status == 400
    unknown = {"content-type": "application/json; charset=unicode_escape"}
    assert (await harness.request("POST", "/v1/events", key(harness) | unknown, body.encode("latin-1"))).status == 415
