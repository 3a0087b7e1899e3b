"""POST /v1/forms/{form} by browsers: origins, redirects, pages."""

import json

import pytest
from structlog.testing import capture_logs

from services.gateway.refused_origins import ORIGINS_MAX, SECONDS
from tests.unit.gateway.harness import SOURCES, GatewayHarness
from tests.unit.gateway.sample_forms import ANN, DEMO, ORIGIN


async def test_allowed_origin_gets_cors_headers(harness: GatewayHarness) -> None:
    for fields, status in ((ANN, 202), ({}, 422)):
        answer = await harness.form(fields, **ORIGIN)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://www.acme.example"
        assert answer.headers["vary"] == "Origin"


async def test_answer_413_has_cors_headers(harness: GatewayHarness) -> None:
    large = {**ANN, "message": "x" * 300_000}
    answer = await harness.form(large, **ORIGIN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (413, "https://www.acme.example")
    assert answer.headers["vary"] == "Origin"
    other = await harness.form(large, origin="https://evil.example")
    assert (other.status, "access-control-allow-origin" in other.headers) == (413, False)
    assert (await harness.form(large, form="nowhere", **ORIGIN)).status == 413


async def test_origin_null_is_403_and_names_the_remedy(harness: GatewayHarness) -> None:
    answer = await harness.form(ANN, origin="null")
    assert "`Referrer-Policy: no-referrer`" in answer.json["detail"]
    assert "allowed_origins" not in answer.json["detail"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://www.acme.example.evil.example", ""])
async def test_other_origins_are_403(harness: GatewayHarness, origin: str) -> None:
    answer = await harness.form(ANN, origin=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert (answer.headers["vary"], harness.records) == ("Origin", [])


async def test_refused_origins_are_logged_by_name_once_and_not_without_bound(harness: GatewayHarness) -> None:
    with capture_logs() as lines:
        for origin in ("https://shop.acme.example", "https://shop.acme.example", "ann@acme.example <b>", "null"):
            await harness.form(ANN, origin=origin)
        await harness.request("OPTIONS", DEMO, {"origin": "https://new.acme.example"})
        logged = [(line["source"], line["origin"]) for line in lines if line["event"] == "origin not allowed"]
        assert logged == [
            ("website", "https://shop.acme.example"),
            ("website", "malformed"),
            ("website", "null"),
            ("website", "https://new.acme.example"),
        ]
        for number in range(100):
            await harness.form(ANN, origin=f"https://{number}.example")
        assert len([line for line in lines if line["event"] == "origin not allowed"]) == ORIGINS_MAX
        harness.clock.advance(seconds=SECONDS)
        await harness.form(ANN, origin="https://shop.acme.example")
        assert lines[-1]["origin"] == "https://shop.acme.example"


async def test_visitor_who_opens_the_address_of_a_form_gets_a_page(harness: GatewayHarness) -> None:
    answer = await harness.request("GET", DEMO, {"accept": "text/html"})
    assert (answer.status, answer.headers["content-type"]) == (405, "text/html; charset=utf-8")
    assert "go back to the page of the form" in answer.body.decode()
    answer = await harness.request("GET", DEMO)
    assert (answer.status, answer.json["status"], answer.headers["allow"]) == (405, 405, "POST, OPTIONS")


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        ("https://www.acme.example:443", "https://www.acme.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://www.acme.example:8443", "https://www.acme.example:8443"),
        ("http://localhost:443", "http://localhost:443"),
    ],
)
async def test_origin_with_the_default_port_matches(harness: GatewayHarness, listed: str, sent: str) -> None:
    harness.configure(SOURCES.replace('https://www.acme.example"]', f'{listed}"]'))
    assert (await harness.form(ANN, origin=sent)).status == 202


async def test_source_with_a_wildcard_allows_any_origin(harness: GatewayHarness) -> None:
    assert (await harness.form(ANN, form="anywhere", origin="https://any.example")).status == 202


async def test_preflight_is_answered(harness: GatewayHarness) -> None:
    headers = ORIGIN | {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = await harness.request("OPTIONS", DEMO, headers)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]
    assert (await harness.request("OPTIONS", DEMO, {"origin": "https://evil.example"})).status == 403
    assert (await harness.request("OPTIONS", "/v1/forms/nowhere", ORIGIN)).status == 404


async def test_browser_is_redirected_to_the_page_of_the_source(harness: GatewayHarness) -> None:
    answer = await harness.form(ANN, accept="text/html,*/*")
    assert (answer.status, answer.headers["location"]) == (303, "https://www.acme.example/thanks")
    assert len(harness.records) == 1


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://www.acme.example/own?a=b", "https://www.acme.example/own?a=b"),
        ("https://evil.example/", "https://www.acme.example/thanks"),
        ("https://www.acme.example@evil.example/", "https://www.acme.example/thanks"),
        ("//evil.example", "https://www.acme.example/thanks"),
        ("https://www.acme.example/\r\nSet-Cookie: a=b", "https://www.acme.example/thanks"),
        ("javascript:alert(1)", "https://www.acme.example/thanks"),
        ("https://[", "https://www.acme.example/thanks"),
    ],
)
async def test_redirect_field_within_an_allowed_origin_is_followed(
    harness: GatewayHarness, url: str, location: str
) -> None:
    assert (await harness.form({**ANN, "_redirect": url}, accept="text/html")).headers["location"] == location
    assert "custom._redirect" not in harness.records[0].event.person


async def test_wildcard_origin_allows_no_redirect_field(harness: GatewayHarness) -> None:
    answer = await harness.form({**ANN, "_redirect": "https://any.example/"}, form="anywhere", accept="text/html")
    assert answer.status == 202


async def test_script_gets_json(harness: GatewayHarness) -> None:
    assert (await harness.form(ANN, accept="application/json")).status == 202
    headers = {"content-type": "application/json", "accept": "text/html"}
    assert (await harness.request("POST", DEMO, headers, json.dumps(ANN).encode())).status == 202


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("form", "fields", "status", "says"),
    [
        ("anywhere", ANN, 202, "Thank you"),
        ("demo-request", {"email": "<script>alert(1)</script>", "name": "<b>Ann"}, 422, "enter an email address"),
        ("demo-request", {"phone": "<b>1"}, 422, "enter a phone number"),
        ("nowhere<script>", ANN, 404, "Form not available"),
    ],
)
async def test_page_for_a_visitor_repeats_nothing_from_the_request(
    harness: GatewayHarness, form: str, fields: dict[str, str], status: int, says: str
) -> None:
    answer = await harness.form(fields, form=form, **BROWSER)
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert says in page
    assert "script" not in page
    assert "<b>" not in page
    assert "ann" not in page.lower().replace("ann@example.com", "").replace("cannot", "")


async def test_page_for_a_visitor_states_a_storage_failure(harness: GatewayHarness) -> None:
    harness.units.full = True
    answer = await harness.form(ANN, **BROWSER)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert b"send it again" in answer.body


async def test_page_for_a_visitor_states_that_the_form_is_kept(harness: GatewayHarness) -> None:
    answer = await harness.form({"name": "Ann"}, **BROWSER)
    assert b"Your message is stored." in answer.body
    assert b"Your message is stored." not in (await harness.form({}, **BROWSER)).body
