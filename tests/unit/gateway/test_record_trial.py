"""A trial of a record at a source of `kind: kafka`: its events, its faults, and the parts that no expression reads."""

import json
from typing import Any

import pytest

from services.gateway import record_trial
from services.gateway.sources import producers_of
from tests.unit.gateway.harness import GatewayHarness

SOURCES = """sources:
  - {id: shop, kind: kafka, producers: [/shop], types: [custom.*]}
  - id: orders
    kind: kafka
    producers: [/orders]
    events: [{type: custom.order, when: "type == 'order'", email: data.buyer.mail}]
"""


def tried(harness: GatewayHarness, source: str, body: bytes, *headers: tuple[str, bytes]) -> dict[str, Any]:
    harness.configure(SOURCES)
    producers = producers_of(harness.files.current)
    one = next(one for one in producers.values() if one.id == source)
    report = record_trial.outcome(
        one, producers, body, headers, harness.files.current.team, harness.clock.business()
    ).report
    assert (report["verified"], report["why"]) == (None, record_trial.WHY)
    assert (harness.units.rows, harness.letters) == ([], [])
    return report


def order(**changes: Any) -> bytes:
    data = {"buyer": {"mail": "Ann@acme.example", "mood": "good"}}
    return json.dumps(
        {"specversion": "1.0", "id": "1", "source": "/orders", "type": "order", "data": data} | changes
    ).encode()


def test_trial_shows_the_events_of_a_mapping_and_the_unused_parts(harness: GatewayHarness) -> None:
    report = tried(harness, "orders", order(subject="x"))
    [event] = report["events"]
    assert (event["type"], event["email"], event["id"]) == ("custom.order", "ann@acme.example", "1")
    assert event["places"]["email"].startswith("sources.yaml:")
    assert (report["unused"], report["faults"], report["unmatched"]) == (["#/data/buyer/mood", "#/subject"], [], 0)


def test_trial_of_a_binary_event_reads_its_headers(harness: GatewayHarness) -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/orders"), ("ce_type", b"order")]
    report = tried(harness, "orders", b'{"buyer": {"mail": "ann@acme.example"}}', *headers)
    assert [event["type"] for event in report["events"]] == ["custom.order"]


def test_trial_of_a_source_without_a_mapping_shows_the_event(harness: GatewayHarness) -> None:
    body = order(source="/shop", type="custom.ping", data={"email": "ann@acme.example"})
    assert [event["type"] for event in tried(harness, "shop", body)["events"]] == ["custom.ping"]


def test_trial_of_an_event_to_which_no_entry_applies_has_no_event(harness: GatewayHarness) -> None:
    report = tried(harness, "orders", order(type="refund"))
    assert (report["events"], report["faults"], report["unmatched"]) == ([], [], 1)


@pytest.mark.parametrize(
    ("source", "body", "says"),
    [
        ("orders", order(source="/shop"), "is a producer of the source shop"),
        ("orders", order(source="/till"), "names"),
        ("orders", order(data={"buyer": {"mail": "nobody"}}), "address"),
        ("shop", order(source="/shop"), "is not a type of event"),
        ("shop", order(source="/shop", type="page.viewed", data={"email": "a@b.example"}), "may not be sent"),
        ("shop", b"", "is empty"),
        ("orders", b"[" * 40, ""),
        ("orders", b"\xff", "UTF-8"),
    ],
    ids=[
        "other source",
        "unknown producer",
        "bad address",
        "no type of ours",
        "type not allowed",
        "empty",
        "open",
        "bytes",
    ],
)
def test_trial_of_a_record_that_is_not_accepted_has_its_fault(
    harness: GatewayHarness, source: str, body: bytes, says: str
) -> None:
    report = tried(harness, source, body)
    [fault] = report["faults"]
    assert says in fault["detail"]
    assert report["events"] == []
