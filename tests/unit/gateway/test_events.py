"""POST /v1/events: our short form and CloudEvents, kept before they are acknowledged."""

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


def key(room: GatewayHarness, role: str = "ingest") -> dict[str, str]:
    return {"authorization": f"Bearer {room.secrets[role]}"}


async def test_an_event_is_kept_and_acknowledged_by_the_senders_id(room: GatewayHarness) -> None:
    answer = await room.event(ANN)

    assert (answer.status, answer.json) == (202, {"ids": ["1"]})
    [kept] = room.kept
    assert (kept.row.topic, kept.row.key, kept.type) == ("events", "ann@acme.example", "page.viewed")
    assert kept.event.source == "the ingest key"
    assert kept.event.fields == {"path": "/pricing"}
    assert kept.event.received_at == room.clock.business()


async def test_a_retry_has_the_same_id_and_another_source_another(room: GatewayHarness) -> None:
    for sent in (ANN, ANN, {**ANN, "source": "crm"}, {**ANN, "source": ""}):
        await room.event(sent)
    await room.event(ANN, role="sales")
    first, again, crm, same, others = (row.event_id for row in room.units.rows)
    assert first == again == same
    assert len({first, crm, others}) == 3


async def test_a_list_is_kept_whole_or_not_at_all(room: GatewayHarness) -> None:
    assert (await room.event([ANN, {**ANN, "id": 2}])).json == {"ids": ["1", "2"]}
    answer = await room.event([ANN, {**ANN, "email": "nobody"}])
    assert (answer.status, answer.pointer) == (422, "#/1/email")
    assert len(room.units.rows) == 2


async def test_nothing_is_acknowledged_that_cannot_be_kept(room: GatewayHarness) -> None:
    room.units.full = True
    for answer in (await room.event(ANN), await room.event(ANN, idempotency_key="k"), await room.event({})):
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"
    assert room.kept == []


@pytest.mark.parametrize("authorization", [{}, {"authorization": "Bearer fh_1_2"}, {"authorization": "Basic x"}])
async def test_without_a_known_key_nothing_is_read(room: GatewayHarness, authorization: dict[str, str]) -> None:
    answer = await room.ask("POST", "/v1/events", PLAIN | authorization, b"{")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert room.letters == []


async def test_a_body_that_cannot_be_mapped_is_kept_as_it_came(room: GatewayHarness) -> None:
    for body in (
        b"{",
        b"\xff",
        b'{"id":"1","type":"page.viewed"}',
        b'"x"',
        b"[1]",
        b'{"a":1,"a":2}',
        b"[" * 100 + b"]" * 100,
    ):
        answer = await room.ask("POST", "/v1/events", PLAIN | key(room), body)
        assert answer.status in (400, 422)
        letter = room.letters[-1]
        assert answer.json["dead_letter"] == letter.id
        assert (letter.body, letter.origin, letter.source) == (body, "/v1/events", "the ingest key")
        room.clock.advance(seconds=1)


async def test_a_corrected_dead_letter_happens_as_of_when_it_came(room: GatewayHarness) -> None:
    await room.event({**ANN, "type": "page.veiwed"})
    came = room.clock.now
    room.clock.advance(hours=5)
    [letter] = room.letters

    ids = await room.units.run(lambda unit: retry.retry(unit, letter, letter.body.replace(b"veiwed", b"viewed")))

    assert ids == ["1"]
    [kept] = room.kept
    assert kept.event.received_at == came
    assert room.letters == []
    await room.event(ANN)
    assert kept.row.event_id == room.kept[-1].row.event_id  # the sender's own correction is no second event


async def test_a_letter_that_is_still_wrong_stays(room: GatewayHarness) -> None:
    await room.event({**ANN, "type": "page.veiwed"})
    [letter] = room.letters
    with pytest.raises(Exception, match="422"):
        await room.units.run(lambda unit: retry.retry(unit, letter))
    assert (room.letters, room.kept) == ([letter], [])


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
async def test_only_plain_json_is_taken(room: GatewayHarness, headers: dict[str, str], status: int) -> None:
    assert (await room.ask("POST", "/v1/events", headers | key(room), json.dumps(ANN).encode())).status == status


@pytest.mark.parametrize("chunk", [0, 1_000])
async def test_a_body_may_come_in_parts_but_not_beyond_the_limit(room: GatewayHarness, chunk: int) -> None:
    filled = {**ANN, "data": {"a": "x" * 60_000, "b": "x" * 60_000}}
    assert (await room.ask("POST", "/v1/events", PLAIN | key(room), json.dumps(filled).encode(), chunk)).status == 202
    too_large = await room.ask("POST", "/v1/events", PLAIN | key(room), b" " * 256 * 1024 + b"1", chunk)
    assert too_large.status == 413


async def test_a_body_that_arrives_late_is_waited_for(room: GatewayHarness) -> None:
    body, arrived, sent = json.dumps(ANN).encode(), asyncio.Event(), list[Message]()

    async def receive() -> Message:
        await arrived.wait()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (PLAIN | key(room)).items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": raw, "query_string": b""}
    asking = asyncio.create_task(room.gateway(scope, receive, send))
    await asyncio.sleep(0)
    assert sent == []
    arrived.set()
    await asking
    assert sent[0]["status"] == 202


async def test_a_sender_that_goes_away_is_answered_like_a_broken_body(room: GatewayHarness) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": [], "query_string": b""}
    await room.gateway(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_replaced_characters_are_told(room: GatewayHarness) -> None:
    body = b'{"id":"1","type":"page.viewed","email":"ann@acme.example","data":{"path":"a\\u0000b\\ud800"}}'
    assert (await room.ask("POST", "/v1/events", PLAIN | key(room), body)).status == 202
    [kept] = room.kept
    assert (kept.event.altered, kept.event.fields) == (True, {"path": "a\ufffdb\ufffd"})


async def test_answers_name_the_request(room: GatewayHarness) -> None:
    answer = await room.event(ANN, x_request_id="my-request-1")
    assert answer.headers["x-request-id"] == "my-request-1"
    wrong = await room.event({}, x_request_id="no")
    assert wrong.json["instance"] == f"urn:firsthour:request:{wrong.headers['x-request-id']}"
    assert wrong.headers["x-request-id"] != (await room.event({})).headers["x-request-id"]


async def test_everything_else_goes_on_to_the_application_behind(room: GatewayHarness) -> None:
    for method, path in (
        ("GET", "/v1/events"),
        ("POST", "/v1/leads"),
        ("POST", "/v1/events/"),
        ("GET", "/hooks/phone"),
    ):
        assert (await room.ask(method, path)).body == b"behind"


async def test_what_was_accepted_is_counted(room: GatewayHarness) -> None:
    await room.event([ANN, {**ANN, "id": "2"}])
    await room.event({})
    text = room.telemetry.text().decode()
    assert 'events_accepted_total{source="the ingest key"} 2.0' in text
    assert 'http_requests_total{method="POST",route="/v1/events",status="202"} 1.0' in text
    assert 'dead_letters_total{consumer="gateway"} 1.0' in text


# --- Idempotency-Key ----------------------------------------------------------------------------------------------


async def test_a_request_sent_again_under_its_key_is_answered_again_and_kept_once(room: GatewayHarness) -> None:
    first = await room.event(ANN, idempotency_key="k1")
    again = await room.event(ANN, idempotency_key='"k1"')
    assert (again.status, again.body) == (first.status, first.body) == (202, b'{"ids":["1"]}')
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(room.kept) == 1


async def test_another_request_under_the_same_key_is_refused(room: GatewayHarness) -> None:
    await room.event(ANN, idempotency_key="k1")
    answer = await room.event({**ANN, "id": "2"}, idempotency_key="k1")
    assert (answer.status, answer.pointer) == (422, "header:Idempotency-Key")
    assert (
        await room.event({**ANN, "id": "2"}, role="sales", idempotency_key="k1")
    ).status == 202  # another sender's key
    assert len(room.kept) == 2


async def test_after_a_day_the_key_is_free_again(room: GatewayHarness) -> None:
    await room.event(ANN, idempotency_key="k1")
    room.clock.advance(hours=25)
    assert (await room.event({**ANN, "id": "2"}, idempotency_key="k1")).status == 202


@pytest.mark.parametrize("given", ["", " ", '""', "x" * 256, "a\x01b"])
async def test_a_key_that_is_none_is_refused(room: GatewayHarness, given: str) -> None:
    assert (await room.event(ANN, idempotency_key=given)).status == 400
    assert room.kept == []


# --- CloudEvents ----------------------------------------------------------------------------------------------------


def peers_event(**attributes: Any) -> CloudEvent:
    given = {
        "id": "a 1",
        "type": "page.viewed",
        "source": "/shop/€",
        "subject": "Ann@acme.example",
        "time": datetime(2026, 11, 30, 8, 0, tzinfo=UTC),
        "datacontenttype": "application/json",
        "tenant": "ignored",
    }
    return CloudEvent({**given, **attributes}, {"path": "/prices", "company": {"name": "Acmé"}})


@pytest.mark.parametrize("encode", [peer.to_structured, peer.to_binary])
async def test_events_of_the_reference_package_are_understood(room: GatewayHarness, encode: Any) -> None:
    message = encode(peers_event(), JSONFormat())
    answer = await room.ask("POST", "/v1/events", message.headers | key(room), message.body)
    assert (answer.status, answer.json) == (202, {"ids": ["a 1"]})
    [kept] = room.kept
    assert (kept.type, kept.at, kept.event.email) == ("page.viewed", "2026-11-30T08:00:00+00:00", "ann@acme.example")
    assert kept.event.fields == {"path": "/prices"}
    assert kept.event.person == {"company.name": "Acmé"}


async def test_both_modes_and_our_short_form_name_the_same_event(room: GatewayHarness) -> None:
    for encode in (peer.to_structured, peer.to_binary):
        message = encode(peers_event(), JSONFormat())
        await room.ask("POST", "/v1/events", message.headers | key(room), message.body)
    await room.event({**ANN, "id": "a 1", "source": "/shop/€"})
    assert len({row.event_id for row in room.units.rows}) == 1


async def test_the_reference_package_reads_our_topics(room: GatewayHarness) -> None:
    await room.event(ANN)
    [row] = room.units.rows
    event = JSONFormat().read(None, row.body)
    assert (event.get_id(), event.get_type(), event.get_specversion()) == (row.event_id, "page.viewed", "1.0")
    assert event.get_extension("partitionkey") == "ann@acme.example"
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["email"] == "ann@acme.example"


async def test_a_batch_of_cloudevents(room: GatewayHarness) -> None:
    one = json.loads(peer.to_structured(peers_event(), JSONFormat()).body)
    headers = {"content-type": "application/cloudevents-batch+json"} | key(room)
    answer = await room.ask("POST", "/v1/events", headers, json.dumps([one, {**one, "id": "2"}]).encode())
    assert (answer.status, answer.json) == (202, {"ids": ["a 1", "2"]})
    assert (await room.ask("POST", "/v1/events", headers, b"[]")).json == {"ids": []}
    assert (await room.ask("POST", "/v1/events", headers, json.dumps(one).encode())).status == 422


async def test_data_may_be_base64_of_json(room: GatewayHarness) -> None:
    one = {"specversion": "1.0", "id": "1", "source": "s", "type": "page.viewed"}
    encoded = base64.b64encode(b'{"email":"ann@acme.example"}').decode()
    assert (await room.event({**one, "data_base64": encoded})).status == 202
    for wrong in ("***", base64.b64encode(b"{").decode(), 5):
        assert (await room.event({**one, "data_base64": wrong})).status in (400, 422)


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [({"specversion": "0.3"}, "#/specversion"), ({"source": ""}, "#/source"), ({"id": None}, "#/id")],
)
async def test_a_cloudevent_without_what_it_needs_is_refused(
    room: GatewayHarness, changed: dict[str, Any], pointer: str
) -> None:
    one = {"specversion": "1.0", "id": "1", "source": "s", "type": "page.viewed", "subject": "ann@acme.example"}
    assert (await room.event({**one, **changed})).pointer == pointer


async def test_a_binary_event_that_cannot_be_mapped_keeps_its_headers_too(room: GatewayHarness) -> None:
    message = peer.to_binary(peers_event(type="page.veiwed"), JSONFormat())
    answer = await room.ask("POST", "/v1/events", message.headers | key(room), message.body)
    assert answer.status == 422
    [letter] = room.letters
    await room.units.run(lambda unit: retry.retry(unit, letter, letter.body.replace(b"veiwed", b"viewed")))
    [kept] = room.kept
    assert (kept.event.source_id, kept.event.person) == ("a 1", {"company.name": "Acmé"})


async def test_a_header_that_is_not_utf_8_is_named(room: GatewayHarness) -> None:
    message = peer.to_binary(peers_event(), JSONFormat())
    answer = await room.ask("POST", "/v1/events", message.headers | {"ce-id": "%ff"} | key(room), message.body)
    assert (answer.status, answer.pointer) == (422, "header:ce-id")


def test_business_time_of_a_letter_follows_a_faster_clock(room: GatewayHarness) -> None:
    fast = HostClock(60.0, EPOCH, EPOCH)
    with room.units.engine.begin() as connection:
        unit = Unit(connection, fast, room.files.current)
        found = retry.received_at(unit, fast.real() - timedelta(minutes=1))
        assert abs(unit.now - found - timedelta(hours=1)) < timedelta(seconds=30)


async def test_what_was_changed_on_arrival_is_counted(room: GatewayHarness) -> None:
    await room.event({**ANN, "time": 0, "data": {"status": "won", "total": 9}})
    [kept] = room.kept
    assert (kept.event.flags, kept.event.dropped) == (("facts-dropped", "time-replaced"), 2)
    text = room.telemetry.text().decode()
    assert 'event_flags_total{flag="time-replaced"} 1.0' in text
    assert 'event_flags_total{flag="facts-dropped"} 1.0' in text


async def test_json_is_read_in_the_charset_that_is_declared_unless_it_is_utf_8(room: GatewayHarness) -> None:
    body = json.dumps({**ANN, "data": {"name": "M\xfcller"}}, ensure_ascii=False)
    for sent in (body.encode(), body.encode("latin-1")):
        answer = await room.ask(
            "POST", "/v1/events", key(room) | {"content-type": "application/json; charset=latin1"}, sent
        )
        assert answer.status == 202
        assert room.kept[-1].event.person == {"name": "M\xfcller"}
    undeclared = await room.ask("POST", "/v1/events", key(room) | PLAIN, body.encode("latin-1"))
    assert undeclared.status == 400
    unknown = {"content-type": "application/json; charset=unicode_escape"}
    assert (await room.ask("POST", "/v1/events", key(room) | unknown, body.encode("latin-1"))).status == 415
