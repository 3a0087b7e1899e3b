"""Records of other programs on Kafka: CloudEvents in both modes, as the official package writes them, and other records."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as peer
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas.sources import EventMapping, KafkaSource
from schemas.topics import EVENTS
from services.gateway.intake import inbound
from services.gateway.intake.inbound import InboundEvent, body_of, parse_record
from services.gateway.sources import inbound_source
from tests.unit.gateway.harness import GatewayHarness

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
SHOP = KafkaSource(id="shop", kind="kafka", producers=("/shop", "/till"), types=("lead.updated", "custom.*"))
ANY = KafkaSource(id="others", kind="kafka", producers=("*",), types=("page.viewed",))
ATTRIBUTES = {"id": "1", "source": "/shop", "type": "custom.order", "time": NOW}
DATA = {"email": "ann@acme.example", "amount": 5, "city": "K\xf6ln"}
STRUCTURED = ("content-type", b"application/cloudevents+json")


def parsed(
    harness: GatewayHarness, value: bytes, *headers: tuple[str, bytes], sources: tuple[KafkaSource, ...] = (SHOP,)
) -> InboundEvent:
    producers = {producer: inbound_source(source, {}) for source in sources for producer in source.producers}
    return parse_record(body_of(value, headers), producers, harness.files.current.team, NOW)


def structured(**changes: Any) -> bytes:
    event = {"specversion": "1.0", **ATTRIBUTES, "time": NOW.isoformat(), "data": DATA, **changes}
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


@pytest.mark.parametrize("write", [peer.to_structured, peer.to_binary])
def test_event_of_the_official_package_becomes_an_event_of_its_source(harness: GatewayHarness, write: Any) -> None:
    message = write(CloudEvent({**ATTRIBUTES, "datacontenttype": "application/json"}, DATA), JSONFormat())
    found = parsed(harness, message.value, *message.headers.items())
    assert (found.error, found.source) == (None, "shop")
    [event], [row] = found.events, found.rows
    assert (event.sent_id, event.type, event.at, event.external.source) == ("1", "custom.order", NOW, "shop")
    assert (event.external.email, event.external.fields["city"]) == ("ann@acme.example", "K\xf6ln")
    assert (row.topic, row.key) == (EVENTS, "ann@acme.example")


def test_both_modes_have_the_same_id(harness: GatewayHarness) -> None:
    headers = [("CE_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shop"), ("ce_type", b"custom.order")]
    binary = parsed(harness, json.dumps(DATA).encode(), *headers)
    assert binary.events[0].event_id == parsed(harness, structured(), STRUCTURED).events[0].event_id
    other = parsed(harness, structured(source="/till"), STRUCTURED)
    assert other.events[0].event_id != binary.events[0].event_id


def test_data_of_a_binary_event_may_be_as_large_as_that_of_a_structured_one(harness: GatewayHarness) -> None:
    large = {**DATA, **{f"x{n}": "y" * 2_000 for n in range(100)}}
    found = parsed(harness, json.dumps(large).encode(), *BINARY)
    assert found.error is None or "256 KiB" not in (inbound.reason_of(found.error) or "")
    assert parsed(harness, b"[1" + b" " * 300_000 + b"]", *BINARY).error is not None


def test_values_of_headers_are_not_percent_decoded(harness: GatewayHarness) -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"100%41"), ("ce_source", b"/shop"), ("ce_type", b"custom.order")]
    assert parsed(harness, json.dumps(DATA).encode(), *headers).events[0].sent_id == "100%41"


BINARY = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shop"), ("ce_type", b"custom.order"))


@pytest.mark.parametrize(
    ("value", "headers", "source", "says"),
    [
        (b"", (), "", "is empty"),
        (b"\xff", (), "", "UTF-8"),
        (b"[]", (STRUCTURED,), "", "is no CloudEvent"),
        (b'{"type": "custom.order", "email": "ann@acme.example"}', (), "", "is no CloudEvent"),
        (b"[" * 100_000, (STRUCTURED,), "", ""),
        (structured(), (("content-type", b"application/json"),), "", "is not that of one CloudEvent"),
        (b"[]", (("content-type", b"application/cloudevents-batch+json"),), "", "is not that of one CloudEvent"),
        (structured(specversion="0.3"), (STRUCTURED,), "shop", "is not 1.0"),
        (structured(source="/unknown"), (STRUCTURED,), "", "names"),
        (structured(source=None), (STRUCTURED,), "", "names"),
        (structured(source=5), (STRUCTURED,), "", "names"),
        (structured(type="form.submitted"), (STRUCTURED,), "shop", "may not be sent by the source shop"),
        (structured(data={"amount": 5}), (STRUCTURED,), "shop", ""),
        (structured(data={"email": "ann@acme.example", "x": "y" * 300_000}), (STRUCTURED,), "", "256 KiB"),
        (b"<x/>", (*BINARY, ("content-type", b"text/xml")), "", "is not JSON"),
        (b"{", (*BINARY, ("content-type", b"application/json")), "shop", ""),
        (b"", BINARY, "shop", ""),
        (b"{}", (*BINARY, ("CE_ID", b"2")), "", "occurs twice"),
        (b"{}", (*BINARY[1:], ("ce_subject", b"\xff")), "", "is not UTF-8"),
    ],
)
def test_record_that_is_no_event_or_not_permitted_has_a_reason(
    harness: GatewayHarness, value: bytes, headers: Any, source: str, says: str
) -> None:
    found = parsed(harness, value, *headers)
    assert (found.source, found.events, found.rows) == (source, (), ())
    assert found.error is not None
    reason = inbound.reason_of(found.error)
    assert reason
    assert says in reason


def test_producer_that_no_source_names_is_of_the_source_for_all_others(harness: GatewayHarness) -> None:
    found = parsed(harness, structured(source="/web", type="page.viewed"), STRUCTURED, sources=(ANY, SHOP))
    assert (found.error, found.source) == (None, "others")
    assert parsed(harness, structured(), STRUCTURED, sources=(ANY, SHOP)).source == "shop"


def test_failure_of_ours_is_returned_and_has_no_reason_in_words(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(inbound, "parse_events", broken)
    found = parsed(harness, structured(), STRUCTURED)
    assert isinstance(found.error, RuntimeError)
    assert inbound.reason_of(found.error) is None


ORDER = {"buyer": {"mail": "Ann@acme.example"}, "lines": [{"sku": "a"}, {"sku": "b"}]}
MAPPED = KafkaSource(
    id="orders",
    kind="kafka",
    producers=("/orders",),
    events=(
        EventMapping(type="custom.order", when="type == 'com.acme.order'", email="data.buyer.mail"),
        EventMapping(
            type="custom.line", each="data.lines", when="sku", email="_body.data.buyer.mail", data={"custom.sku": "sku"}
        ),
    ),
)


def mapped(harness: GatewayHarness, data: object = ORDER, **changes: Any) -> InboundEvent:
    sent = structured(**{"source": "/orders", "type": "com.acme.order", "data": data, **changes})
    return parsed(harness, sent, STRUCTURED, sources=(MAPPED,))


def test_mapping_makes_events_of_any_cloudevent_at_its_time(harness: GatewayHarness) -> None:
    before = NOW - timedelta(hours=3)
    found = mapped(harness, time=before.isoformat())
    assert (found.error, found.unmatched) == (None, None)
    assert [(event.type, event.sent_id, event.at) for event in found.events] == [
        ("custom.order", "1", before),
        ("custom.line", "1", before),
        ("custom.line", "1#2", before),
    ]
    assert {event.external.email for event in found.events} == {"ann@acme.example"}
    assert len({event.event_id for event in found.events}) == 3
    assert [event.event_id for event in mapped(harness).events] == [event.event_id for event in found.events]


def test_mapping_sees_encoded_data_as_a_value(harness: GatewayHarness) -> None:
    encoded = base64.b64encode(json.dumps(ORDER).encode()).decode()
    found = mapped(harness, None, data_base64=encoded)
    assert [event.type for event in found.events] == ["custom.order", "custom.line", "custom.line"]


def test_events_of_two_producers_with_one_id_differ(harness: GatewayHarness) -> None:
    wider = MAPPED.model_copy(update={"producers": ("/orders", "/shop")})
    sent = [structured(source=source, type="com.acme.order", data=ORDER) for source in ("/orders", "/shop")]
    ids = [parsed(harness, one, STRUCTURED, sources=(wider,)).events[0].event_id for one in sent]
    assert ids[0] != ids[1]


def test_event_to_which_no_entry_applies_is_unmatched_with_its_type(harness: GatewayHarness) -> None:
    found = mapped(harness, {}, type="com.acme.refund")
    assert (found.source, found.events, found.error, found.unmatched) == ("orders", (), None, "com.acme.refund")


def test_part_that_cannot_be_mapped_leaves_the_other_events(harness: GatewayHarness) -> None:
    found = mapped(harness, {**ORDER, "buyer": {"mail": "nobody"}})
    assert found.events == []
    assert "email" in (inbound.reason_of(found.error) or "" if found.error else "")
    wrong = MAPPED.events[1].model_copy(update={"email": "sku"})
    part = MAPPED.model_copy(update={"events": (MAPPED.events[0], wrong)})
    sent = structured(source="/orders", type="com.acme.order", data=ORDER)
    found = parsed(harness, sent, STRUCTURED, sources=(part,))
    assert ([event.type for event in found.events], found.error is None) == (["custom.order"], False)


def test_mapped_event_without_an_id_is_refused(harness: GatewayHarness) -> None:
    for id in (None, "", 5):
        found = mapped(harness, id=id)
        assert "#/id: is missing" in str(found.error)
