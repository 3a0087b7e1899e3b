"""A trial of a body: verification, events with their expressions and places, faults, unused parts. Nothing is stored."""

import hmac
import json
from typing import Any

import pytest

from services.gateway import trial
from services.gateway.domain import webhooks
from services.gateway.sources import source_index
from tests.unit.gateway.harness import HMAC_SECRET, GatewayHarness

CALL: dict[str, Any] = {
    "kind": "call.ended",
    "uuid": "c-1",
    "ended_at": "2026-12-01T08:59:00Z",
    "duration": 95,
    "customer": {"email": "Ann@acme.example", "mood": "good"},
    "agent": {"email": "noor@ourcompany.example"},
    "tags": ["a", "b"],
    "empty": None,
}


def tried(harness: GatewayHarness, body: bytes, source: str = "phone", **request: Any) -> dict[str, Any]:
    endpoint = source_index(harness.files.current, {}).webhooks[source]
    headers = trial.headers_of(request.pop("headers", {}))
    now = harness.clock.business()
    tried_request = trial.TriedRequest(headers, body, **request)
    report = trial.outcome(
        endpoint, tried_request, b"https://leads.example", harness.files.current.team, now, harness.clock.real()
    ).report
    assert (harness.units.rows, harness.letters) == ([], [])
    return report


def signed(body: bytes) -> dict[str, str]:
    return {"X-Signature": "sha256=" + hmac.new(HMAC_SECRET.encode(), body, "sha256").hexdigest()}


def test_trial_shows_events_with_expressions_and_places(harness: GatewayHarness) -> None:
    body = json.dumps(CALL).encode()
    report = tried(harness, body, headers=signed(body))
    assert (report["verified"], report["why"], report["faults"]) == (True, None, [])
    [event] = report["events"]
    assert (event["type"], event["email"], event["id"]) == ("touch.recorded", "ann@acme.example", "c-1")
    assert event["fields"]["answered"] is True
    assert event["expressions"]["answered"] == "duration > `20`"
    assert event["places"]["answered"].startswith("sources.yaml:")


def test_trial_names_the_parts_that_no_expression_reads(harness: GatewayHarness) -> None:
    report = tried(harness, json.dumps(CALL).encode(), signed=False)
    assert report["unused"] == ["#/customer/mood", "#/tags/0", "#/tags/1"]
    assert (report["verified"], "no headers" in report["why"]) == (None, True)


def test_trial_tells_why_a_delivery_is_not_verified(harness: GatewayHarness) -> None:
    body = json.dumps(CALL).encode()
    report = tried(harness, body, headers={"X-Signature": "sha256=00"})
    assert report["verified"] is False
    assert report["why"] == "the signature was made with none of 1 secrets, or over another text"
    assert len(report["events"]) == 1  # the mapping is shown in any case
    assert "the secret file" in tried(harness, body, "unset")["why"]


def test_trial_names_the_expression_that_fails_its_place_and_the_value(harness: GatewayHarness) -> None:
    report = tried(harness, json.dumps({**CALL, "note": 5}).encode(), signed=False)
    [fault] = report["faults"]
    assert fault["pointer"].startswith("sources.yaml:")
    assert "`when`" in fault["detail"]
    assert "5" in fault["detail"]


def test_trial_of_a_body_that_matches_nothing_has_no_event(harness: GatewayHarness) -> None:
    report = tried(harness, b'{"kind":"call.started"}', signed=False)
    assert (report["events"], report["faults"], report["unmatched"]) == ([], [], 1)


def test_trial_of_any_bytes_has_faults_and_no_error(harness: GatewayHarness) -> None:
    for body in (b"", b"{", b"\xff", b"[]", b"1", b'"a"', b"[" * 40 + b"]" * 40):
        report = tried(harness, body, signed=False)
        assert report["events"] == []


def test_trial_of_a_preset_names_it_as_the_place(harness: GatewayHarness) -> None:
    harness.configure("sources:\n  - {id: forms, preset: webflow, secrets: [{file: phone.secret}]}\n")
    body = {"triggerType": "form_submission", "payload": {"id": "1", "data": {"Email": "ann@acme.example", "x": "y"}}}
    report = tried(harness, json.dumps(body).encode(), "forms", signed=False)
    [event] = report["events"]
    assert event["places"][""] == "preset webflow"
    assert event["person"] == {"custom.x": "y"}


def test_events_beside_a_faulty_part_have_their_own_expressions(harness: GatewayHarness) -> None:
    noted = {"kind": "note", "note": "wants a quote", "customer": {"email": "ann@acme.example"}}
    report = tried(harness, json.dumps([{**CALL, "customer": {"email": "nobody"}}, noted]).encode(), signed=False)
    [event] = report["events"]
    assert (event["type"], event["expressions"]["note"]) == ("custom.note", "note")
    assert [fault["pointer"] for fault in report["faults"]] == ["#/0/email"]


def test_token_in_the_target_of_a_trial_proves_it(harness: GatewayHarness) -> None:
    harness.configure(
        "sources:\n  - id: calls\n    kind: webhook\n    verify: {scheme: url-token, secrets: [{file: phone.secret}]}\n"
        "    events: [{type: custom.ping, email: email}]\n"
    )
    path = "/hooks/calls/" + HMAC_SECRET.replace(" ", "%20")
    assert tried(harness, b"{}", "calls", target=path.encode())["verified"] is True
    assert tried(harness, b"{}", "calls", target=b"/hooks/calls/x")["verified"] is False
    assert tried(harness, b"{}", "calls")["verified"] is False


def test_large_list_is_examined_by_its_first_items(harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped, map_items = 0, webhooks.short_forms

    def counted(item: webhooks.BodyItem, ids: webhooks.EventIds) -> Any:
        nonlocal mapped
        mapped += 1
        return map_items(item, ids)

    monkeypatch.setattr(webhooks, "short_forms", counted)
    calls = [{**CALL, "uuid": str(number)} for number in range(700)]
    report = tried(harness, json.dumps(calls).encode(), signed=False)
    assert report["unused"][:3] == ["#/0/customer/mood", "#/0/tags/0", "#/0/tags/1"]
    assert mapped < 700 + trial.LEAVES_MAX * (trial.EXAMINED_MAX + 1)
