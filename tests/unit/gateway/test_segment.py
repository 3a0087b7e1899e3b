"""The tracking API of Segment: calls become events, answers are those that its libraries expect."""

import base64
import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import retry
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.segment import CALLS, corrected, instant, short_form
from tests.unit.gateway.harness import Answer, GatewayHarness

AT = "2026-12-01T08:59:11.000+00:00"
IDENTIFY: dict[str, Any] = {
    "type": "identify",
    "messageId": "m-1",
    "anonymousId": "a-1",
    "userId": "u-1",
    "timestamp": AT,
    "traits": {
        "email": "Ann@acme.example",
        "firstName": "Ann",
        "lastName": "Lee",
        "title": "VP Sales",
        "company": {"name": "Acme", "employees": 500},
        "address": {"country": "Germany"},
    },
    "context": {"campaign": {"name": "Autumn", "source": "newsletter"}, "library": {"name": "analytics-python"}},
}


async def call(harness: GatewayHarness, path: str, value: Any, key: str | None = None, **headers: str) -> Answer:
    credentials = base64.b64encode(f"{key or harness.secrets['ingest']}:".encode()).decode()
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    given = {"content-type": "application/json", "authorization": f"Basic {credentials}"}
    return await harness.request("POST", path, given | {k.replace("_", "-"): v for k, v in headers.items()}, body)


def events(harness: GatewayHarness) -> list[tuple[str, str | None, str | None]]:
    return [(record.type, record.event.email, record.event.anonymous_id) for record in harness.records]


async def test_identify_becomes_an_update_of_the_person(harness: GatewayHarness) -> None:
    answer = await call(harness, "/v1/identify", IDENTIFY)
    assert (answer.status, answer.json) == (200, {"success": True})
    [record] = harness.records
    assert (record.type, record.event.email, record.at) == (
        "lead.updated",
        "ann@acme.example",
        "2026-12-01T08:59:11+00:00",
    )
    assert record.event.person == {
        "first_name": "Ann",
        "last_name": "Lee",
        "title": "VP Sales",
        "company.name": "Acme",
        "company.employees": 500,
        "country": "DE",
        "utm.campaign": "Autumn",
        "utm.source": "newsletter",
    }


async def test_batch_of_calls_is_accepted_whole(harness: GatewayHarness) -> None:
    batch = [
        IDENTIFY,
        {
            "type": "track",
            "event": "Order Completed",
            "userId": "ann@acme.example",
            "messageId": "m-2",
            "properties": {"revenue": 9},
        },
        {
            "type": "track",
            "event": "Form Submitted",
            "anonymousId": "a-1",
            "messageId": "m-3",
            "properties": {"email": "ann@acme.example"},
        },
        {
            "type": "page",
            "name": "Pricing",
            "anonymousId": "a-1",
            "messageId": "m-4",
            "properties": {"path": "/pricing"},
        },
        {"type": "screen", "name": "Home", "anonymousId": "a-1", "messageId": "m-5"},
        {
            "type": "group",
            "groupId": "g-1",
            "userId": "ann@acme.example",
            "messageId": "m-6",
            "traits": {"name": "Acme"},
        },
        {"type": "alias", "previousId": "a-0", "userId": "ann@acme.example", "messageId": "m-7"},
    ]
    answer = await call(harness, "/v1/batch", {"batch": batch, "sentAt": AT})
    assert answer.json == {"success": True}
    assert events(harness) == [
        ("lead.updated", "ann@acme.example", "a-1"),
        ("custom.order-completed", "ann@acme.example", "user:ann@acme.example"),
        ("form.submitted", "ann@acme.example", "a-1"),
        ("page.viewed", None, "a-1"),
        ("page.viewed", None, "a-1"),
        ("lead.updated", "ann@acme.example", "user:ann@acme.example"),
        ("lead.updated", "ann@acme.example", "a-0"),
    ]
    assert harness.records[3].event.fields["path"] == "/pricing"
    assert harness.records[5].event.person["company.name"] == "Acme"


async def test_place_of_a_mistake_names_the_call_of_the_batch(harness: GatewayHarness) -> None:
    await call(harness, "/v1/batch", {"batch": [IDENTIFY, {"type": "track", "anonymousId": "a-1", "messageId": "m-2"}]})
    assert [letter.error for letter in harness.letters] == [
        "#/batch/1/event: is missing; name the event that was tracked"
    ]


async def test_body_that_is_not_json_is_refused_in_one_sentence(harness: GatewayHarness) -> None:
    answer = await call(harness, "/v1/batch", b"\xff")
    assert answer.json["message"] == "Invalid body: The body is not UTF-8 at byte 0; send UTF-8."


async def test_repeated_message_has_the_same_event_id(harness: GatewayHarness) -> None:
    for path in ("/v1/identify", "/v1/batch"):
        await call(harness, path, IDENTIFY if path == "/v1/identify" else {"batch": [IDENTIFY]})
    assert len({row.event_id for row in harness.units.rows}) == 1


async def test_clock_of_the_sender_is_corrected(harness: GatewayHarness) -> None:
    sent = {"batch": [{**IDENTIFY, "timestamp": "2026-12-01T10:00:00Z"}], "sentAt": "2026-12-01T10:00:30Z"}
    await call(harness, "/v1/batch", sent)  # the sender's clock is an hour fast; it is 09:00
    assert harness.records[0].at == "2026-12-01T08:59:30+00:00"


async def test_time_of_a_call_has_another_name_in_a_library_of_rudderstack(harness: GatewayHarness) -> None:
    call_of_node = {**IDENTIFY, "originalTimestamp": "2026-12-01T10:00:00Z"}
    del call_of_node["timestamp"]
    await call(harness, "/v1/batch", {"batch": [call_of_node], "sentAt": "2026-12-01T10:00:30Z"})
    assert harness.records[0].at == "2026-12-01T08:59:30+00:00"


async def test_traits_in_the_context_count_and_gzip_is_read(harness: GatewayHarness) -> None:
    rudder = {
        "type": "identify",
        "messageId": "r-1",
        "userId": "u",
        "context": {"traits": {"email": "ann@acme.example"}},
    }
    body = gzip.compress(json.dumps({"batch": [rudder]}).encode())
    assert (await call(harness, "/v1/batch", body, content_encoding="gzip")).status == 200
    assert events(harness) == [("lead.updated", "ann@acme.example", "user:u")]


async def test_write_key_may_be_in_the_body(harness: GatewayHarness) -> None:
    body = json.dumps({**IDENTIFY, "writeKey": harness.secrets["ingest"]}).encode()
    assert (await harness.request("POST", "/v1/identify", {"content-type": "text/plain"}, body)).status == 200
    assert harness.secrets["ingest"] not in repr(harness.records)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic !"}, {"authorization": "Basic Og=="}])
async def test_call_without_a_valid_key_is_refused_in_the_form_of_segment(
    harness: GatewayHarness, headers: Mapping[str, str]
) -> None:
    answer = await harness.request("POST", "/v1/identify", headers, json.dumps(IDENTIFY).encode())
    assert (answer.status, answer.json["code"], harness.records) == (401, "401", [])
    assert answer.json["message"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/batch", b"{", {}, 400),
        ("/v1/batch", b"[]", {}, 400),
        ("/v1/batch", b'{"batch":{}}', {}, 400),
        ("/v1/batch", json.dumps({"batch": [1] * 1_001}).encode(), {}, 400),
        ("/v1/batch", b'{"batch":[{"type":"track"}]}', {}, 400),
        ("/v1/track", b'{"anonymousId":"a"}', {}, 400),
        ("/v1/identify", b'{"traits":{}}', {}, 400),
        ("/v1/batch", b"x", {"content_encoding": "gzip"}, 400),
        ("/v1/batch", gzip.compress(b"{}", mtime=0)[:-2], {"content_encoding": "gzip"}, 400),
        ("/v1/batch", gzip.compress(b" " * 600_000, mtime=0), {"content_encoding": "gzip"}, 413),
        ("/v1/batch", b"{}", {"content_encoding": "br"}, 415),
        ("/v1/batch", b" " * 512_001, {}, 413),
        (
            "/v1/track",
            json.dumps({"event": "x", "anonymousId": "a", "properties": {"a": "b" * 33_000}}).encode(),
            {},
            400,
        ),
    ],
)
async def test_unreadable_call_is_refused_with_code_and_message(
    harness: GatewayHarness, path: str, body: bytes, headers: Mapping[str, str], status: int
) -> None:
    answer = await call(harness, path, body, **headers)
    assert answer.status == status
    assert (answer.json["code"], answer.json["success"]) == (str(status), False)
    assert harness.records == []


async def test_bad_call_of_a_batch_is_kept_and_can_be_retried(harness: GatewayHarness) -> None:
    bad = {"type": "track", "event": "x", "messageId": "m-9", "timestamp": AT}
    answer = await call(harness, "/v1/batch", {"batch": [IDENTIFY, bad]})
    assert (answer.json, len(harness.records)) == ({"success": True}, 1)
    [letter] = harness.letters
    assert (letter.origin, letter.source) == ("/v1/batch", "the ingest key")
    corrected = json.dumps({**bad, "userId": "ann@acme.example"}).encode()
    assert await harness.units.run(lambda unit: retry.retry(unit, letter, corrected)) == ["m-9"]


async def test_calls_with_one_message_id_and_other_data_are_all_kept(harness: GatewayHarness) -> None:
    other = {**IDENTIFY, "traits": {"title": "CEO"}}
    third = {**IDENTIFY, "traits": {"title": "CTO"}}
    batch = {"batch": [IDENTIFY, other, IDENTIFY, third, other], "sentAt": AT}
    for _ in range(2):
        await call(harness, "/v1/batch", batch)
    own = IDENTIFY["messageId"]
    before = IDENTIFY["traits"].get("title")
    titles = {record.event.source_id: record.event.person.get("title") for record in harness.records}
    assert titles == {own: before, f"{own}#2": "CEO", f"{own}#3": "CTO"}
    assert len({row.event_id for row in harness.units.rows}) == 3


async def test_thousand_calls_with_one_message_id_cost_one_parse_more_each(harness: GatewayHarness) -> None:
    batch = [{"type": "identify", "userId": "a@b.example", "messageId": "m", "traits": {"n": n}} for n in range(1000)]
    await call(harness, "/v1/batch", {"batch": batch})
    assert len({row.event_id for row in harness.units.rows}) == 1000


async def test_many_bad_calls_share_a_letter_and_none_is_lost(harness: GatewayHarness) -> None:
    bad = [{"type": "track", "event": "x", "messageId": f"m-{n}", "timestamp": AT} for n in range(25)]
    await call(harness, "/v1/batch", {"batch": [IDENTIFY, *bad]})
    assert len(harness.letters) == 21
    [rest] = [letter for letter in harness.letters if b'"batch"' in letter.body]
    assert rest.error is not None
    assert rest.error.startswith("5 calls, the first: #/batch/21")
    corrected = {"batch": [{**one, "userId": "ann@acme.example"} for one in json.loads(rest.body)["batch"]]}
    ids = await harness.units.run(lambda unit: retry.retry(unit, rest, json.dumps(corrected).encode()))
    assert ids == [f"m-{n}" for n in range(20, 25)]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["email", "company", "traits", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [
    "userId",
    "anonymousId",
    "messageId",
    "traits",
    "properties",
    "context",
    "event",
    "timestamp",
    "previousId",
    "name",
]


@given(st.sampled_from(CALLS), st.dictionaries(st.sampled_from(NAMES), values))
def test_any_call_is_converted_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        short = short_form(fields, kind, "id")
    except UnmappableError:
        return
    assert isinstance(short["data"], dict)


def test_time_of_a_clock_that_is_thousands_of_years_off_is_not_corrected() -> None:
    sent = instant("9114-06-12T09:06:19+23:03")
    stamp = "0036-05-06T22:03:27+11:22"
    assert corrected(stamp, sent, datetime(2026, 12, 1, tzinfo=UTC)) == stamp
