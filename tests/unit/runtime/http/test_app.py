"""The application: errors are answered as problems without private data, readiness, and documentation."""

import json
from typing import Any

import httpx
import pytest

from firsthour.runtime.http import throttle
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.observability.metrics import Telemetry
from tests.unit.runtime.http.site import CANARY, WITH_KEY, Site, problem

JSON = {"content-type": "application/json"}

# --- problems --------------------------------------------------------------------------------------------------


async def test_unknown_path_is_answered_404(site: Site) -> None:
    assert problem(await site.request("GET", f"/{CANARY}"), 404)["title"] == "Not Found"


async def test_trailing_slash_is_not_redirected(site: Site) -> None:
    problem(await site.request("GET", "/v1/leads/l1/"), 404)


async def test_wrong_method_is_answered_405_with_the_allowed_methods(site: Site) -> None:
    answer = await site.request("DELETE", "/v1/leads/l1")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, PUT"
    assert (await site.request("POST", "/healthz")).headers["allow"] == "GET, HEAD"


async def test_unhandled_error_is_answered_500_without_details_and_logged(site: Site) -> None:
    answer = await site.request("GET", "/v1/fails/bug")
    assert problem(answer, 500)["type"] == "urn:firsthour:problem:internal-server-error"
    assert "ValueError" not in answer.text
    line = json.loads(site.log.getvalue())
    assert line["error"] == "ValueError"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["route"] == "/v1/fails/{kind}"
    assert CANARY not in site.log.getvalue()


async def test_storage_error_is_answered_503_with_retry_after(site: Site) -> None:
    answer = await site.request("GET", "/v1/fails/disk")
    problem(answer, 503)
    assert answer.headers["retry-after"] == "2"


async def test_problem_raised_in_an_endpoint_is_answered(site: Site) -> None:
    members = problem(await site.request("GET", "/v1/fails/conflict"), 409)
    assert (members["title"], members["detail"], members["owner"]) == ("Not the owner", "Ask ana.", "ana")
    assert members["type"] == "urn:firsthour:problem:conflict"


async def test_http_exception_is_answered_as_a_problem_with_its_headers(site: Site) -> None:
    answer = await site.request("GET", "/v1/fails/framework")
    assert problem(answer, 404)["detail"] == "No lead l1"
    assert answer.headers["x-why"] == "y"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/rep"),
        ({"rep": 7}, "#/rep"),
        ({"rep": "  "}, "#/rep"),
        ({"rep": "\u3164"}, "#/rep"),
        ({"rep": "ana", "reason": "\u200b"}, "#/reason"),
        ({"rep": "ana", "force": "yes"}, "#/force"),
        ({"rep": "ana", "a/b~c": CANARY}, "#/a~1b~0c"),
        ([CANARY], "#"),
    ],
)
async def test_invalid_body_is_answered_422_with_the_pointer(site: Site, body: Any, pointer: str) -> None:
    members = problem(await site.request("POST", "/v1/leads/l1/assign", json=body), 422)
    assert [fault["pointer"] for fault in members["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "is missing; add it"),
        ({"rep": 7}, 'is not a text; write text in quotes, such as "ana"'),
        ({"rep": "  "}, "is empty; write a text"),
        ({"rep": "x" * 201}, "is too long; write at most 200 characters"),
        ({"rep": "\u3164"}, "has no visible character; write at least one"),
        ({"rep": "ana", "force": "yes"}, "is neither true nor false; write true or false"),
        ({"rep": "ana", "other": 1}, "is not a field of this body; leave it out"),
    ],
)
async def test_invalid_field_is_answered_with_the_fault_and_the_remedy(site: Site, body: Any, detail: str) -> None:
    members = problem(await site.request("POST", "/v1/leads/l1/assign", json=body), 422)
    assert [fault["detail"] for fault in members["errors"]] == [detail]


async def test_invalid_parameter_is_answered_422_with_its_name(site: Site) -> None:
    members = problem(await site.request("GET", f"/v1/leads/l1?limit={CANARY}"), 422)
    assert members["errors"][0]["pointer"] == "query:limit"


@pytest.mark.parametrize("body", [b'{"rep": Kanarienvogel}', b"{"])
async def test_body_that_is_not_json_is_answered_400_with_the_place(site: Site, body: bytes) -> None:
    members = problem(await site.request("POST", "/v1/leads/l1/assign", content=body, headers=JSON), 400)
    assert members["type"] == "urn:firsthour:problem:invalid-json"
    (fault,) = members["errors"]
    assert (fault["pointer"], fault["detail"].endswith("; send valid JSON")) == ("#", True)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "is missing; send a JSON object"),
        (b"null", 'is not an object; send an object, such as {"name": "value"}'),
    ],
)
async def test_missing_body_is_answered_422_with_the_remedy(site: Site, body: bytes, detail: str) -> None:
    members = problem(await site.request("POST", "/v1/leads/l1/assign", content=body, headers=JSON), 422)
    assert members["errors"] == [{"pointer": "#", "detail": detail}]


@pytest.mark.parametrize("body", [b"[" * 900, b'{"rep": ' + b"1" * 900 + b"}", b'"\xff\xfe"'])
async def test_hostile_json_is_answered_with_a_client_error(site: Site, body: bytes) -> None:
    answer = await site.request("POST", "/v1/leads/l1/assign", content=body, headers=JSON)
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


async def test_json_that_is_not_utf_8_is_answered_400_with_the_remedy(site: Site) -> None:
    members = problem(await site.request("POST", "/v1/leads/l1/assign", content=b'"\xff\xfe"', headers=JSON), 400)
    assert members["detail"].endswith("Send a JSON object in UTF-8.")


async def test_other_media_type_is_answered_415(site: Site) -> None:
    headers = {"content-type": "text/plain"}
    problem(await site.request("POST", "/v1/leads/l1/assign", content=b'{"rep": "ana"}', headers=headers), 415)


# --- health and metrics ----------------------------------------------------------------------------------------


async def test_healthz_is_answered_200(site: Site) -> None:
    assert (await site.request("GET", "/healthz")).json() == {"status": "ok"}


async def test_readiness_with_a_key_has_checks_and_warnings(site: Site) -> None:
    answer = await site.request("GET", "/readyz", headers=WITH_KEY)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"database": "ok"}, "warnings": ["agreement.yaml:3:1: x"]}
    site.readiness = Readiness(False, {"database": "the disk is full"})
    answer = await site.request("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"


async def test_readiness_without_a_key_is_only_the_state(site: Site) -> None:
    answer = await site.request("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    site.readiness = Readiness(False, {"database": CANARY})
    answer = await site.request("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
    problem(await site.request("GET", "/readyz", headers={"authorization": "Bearer wrong"}), 401)


async def test_metrics_need_a_key(site: Site) -> None:
    problem(await site.request("GET", "/metrics"), 401)
    assert (await site.request("GET", "/metrics", headers=WITH_KEY)).status_code == 200


async def test_invalid_keys_are_throttled_by_address_and_valid_keys_are_not(site: Site) -> None:
    wrong = {"authorization": "Bearer wrong"}
    for _ in range(throttle.ATTEMPTS_MAX):
        problem(await site.request("GET", "/metrics", headers=wrong), 401)
    answer = await site.request("GET", "/metrics", headers=wrong)
    problem(answer, 429)
    assert answer.headers["retry-after"] == "60"
    assert (await site.request("GET", "/metrics", headers=WITH_KEY)).status_code == 200
    problem(await site.request("GET", "/metrics"), 401)


# --- documentation ---------------------------------------------------------------------------------------------


async def test_openapi_documents_problems_and_no_validation_errors(site: Site) -> None:
    schema = (await site.request("GET", "/openapi.json")).json()
    assign = schema["paths"]["/v1/leads/{id}/assign"]["post"]
    for status in ("422", "default"):
        assert assign["responses"][status]["content"].keys() == {"application/problem+json"}
    assert "Problem" in schema["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(schema)


async def test_openapi_is_built_once(site: Site) -> None:
    first = await site.request("GET", "/openapi.json")
    assert (first.headers["content-type"], first.json()) == ("application/json", site.app.openapi())
    site.app.openapi = dict  # type: ignore[method-assign]
    assert (await site.request("GET", "/openapi.json")).content == first.content


async def test_docs_page_is_escaped_and_loads_nothing(site: Site) -> None:
    answer = await site.request("GET", "/docs")
    assert "/v1/leads/{id}/assign" in answer.text
    assert "<code>rep</code> (required)" in answer.text
    assert "<script" not in answer.text
    assert "FirstHour &lt;b&gt;" in answer.text
    assert "://" not in answer.text
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]


async def test_documentation_can_be_disabled() -> None:
    app = create_app(title="x", routers=[], telemetry=Telemetry(), ready=lambda: Readiness(True), docs=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site") as client:
        assert (await client.get("/docs")).status_code == 404
        assert (await client.get("/openapi.json")).status_code == 404
