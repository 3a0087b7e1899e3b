"""Meta, LinkedIn and HubSpot: trials with an answer of the API, and the version of the API."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.fetching import Fetch
from schemas.sources import THIN_PRESETS
from services.gateway.domain import thin_events
from tests.unit.gateway.harness import GatewayHarness
from tests.unit.gateway.test_thin_events import configure, sample
from tests.unit.gateway.test_trial import tried


@pytest.mark.parametrize("preset", THIN_PRESETS)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "is empty"),
        (b"{", ""),
        (b"\xff", "UTF-8"),
        (b"[" * 50, ""),
        (b"[]", "is not a JSON object"),
        (b"5", "is not a JSON object"),
        (b'"a"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"x": "' + b"y" * 300_000 + b'"}', ""),
    ],
    ids=["empty", "open", "bytes", "nested", "list", "number", "text", "null", "long"],
)
def test_answer_that_the_fetch_would_not_take_is_a_fault(
    harness: GatewayHarness, preset: str, answer: bytes, says: str
) -> None:
    configure(harness, preset)
    report = tried(harness, sample(preset, "delivery"), "vendor", answer=answer, signed=False)
    assert report["events"] == []
    [fault] = report["faults"]
    assert fault["pointer"].startswith("answer")
    assert says in fault["detail"]


@pytest.mark.parametrize("preset", THIN_PRESETS)
def test_answer_for_a_body_without_a_thin_event_is_a_fault(harness: GatewayHarness, preset: str) -> None:
    configure(harness, preset)
    report = tried(harness, b"{}", "vendor", answer=sample(preset, "answer"), signed=False)
    assert [fault["detail"] for fault in report["faults"]] == [
        "names no event that an answer completes; leave the answer out"
    ]


@pytest.mark.parametrize(
    ("preset", "place"),
    [
        ("meta", "https://graph.facebook.com/v99.0/901?"),
        ("hubspot", "https://api.hubapi.com/crm/objects/v99.0/contacts/1246978?"),
        ("linkedin", "v99.0"),
    ],
)
def test_version_of_a_source_replaces_that_of_its_preset(harness: GatewayHarness, preset: str, place: str) -> None:
    endpoint = configure(harness, preset, ", version: v99.0")
    report = tried(harness, sample(preset, "delivery"), "vendor", signed=False)
    assert endpoint.api is not None
    used = [fetch["url"] for fetch in report["fetches"]] + list(endpoint.api.headers.values())
    assert any(text.startswith(place) for text in used)
    assert "{version}" not in str(used)


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "https://api.example/{version}"},
        {"headers": {"X-Version": "{version}"}},
        {"version": "v1/../x"},
        {"version": ""},
        {"version": 202607},
    ],
    ids=["address", "header", "path", "empty", "number"],
)
def test_version_that_is_missing_or_malformed_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fetch.model_validate({"base_url": "https://api.example", "path": "/x", "id": "id", **fields})


def test_brace_of_a_path_without_a_version_is_an_expression() -> None:
    fetch = Fetch(base_url="https://api.example", path="/{version}/x", id="id")
    assert thin_events.path_of(thin_events.compile_lookup(fetch), {"version": 5}) == "/5/x"
