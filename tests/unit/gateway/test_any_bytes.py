"""The gateway answers any request, and never with an internal error."""

import hmac

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.gateway.harness import HMAC_SECRET, Answer, GatewayHarness, run

REFUSED = {400, 401, 403, 404, 413, 415, 422}
MEDIA = st.sampled_from(
    [
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/plain",
        "application/json; charset",
        ';"',
    ]
)
WORDS = st.sampled_from(
    [
        b'{"id":"1","type":"page.viewed","email":"a@b.example","data":',
        b"{}",
        b"}",
        b"[",
        b"]",
        b'"email"',
        b":",
        b'"\\ud800"',
        b"--x",
        b"\r\n",
        b"Content-Disposition: form-data; name=email",
        b"a@b.example",
        b"email=",
        b"&",
        b"%ff",
        b"%00",
        b"\xff",
        b"1e999",
        *(b'"kind":"call.ended"', b'"customer":', b",", b"null", b'"specversion":"1.0"', b'"time":99999999999999'),
    ]
)
BODIES = st.binary(max_size=200) | st.lists(WORDS, max_size=12).map(b"".join)
NAMES = st.sampled_from(
    ["origin", "idempotency-key", "ce-specversion", "ce-id", "ce-type", "ce-time", "ce-source", "ce-"]
)
HEADERS = st.dictionaries(
    NAMES
    | st.sampled_from(["content-encoding", "referer", "accept", "webhook-id", "webhook-timestamp", "webhook-signature"])
    | st.sampled_from(["x-signature", "x-time", "x-request-id", "content-length", "x-sig"]),
    st.binary(max_size=30).map(lambda value: value.decode("latin-1"))
    | st.sampled_from(["1.0", "page.viewed", "%", "text/html"]),
    max_size=6,
)
PATHS = st.sampled_from(
    ["/v1/events", "/v1/forms/demo-request", "/v1/forms/anywhere", "/hooks/phone", "/hooks/billing", "/hooks/stamped"]
) | st.text(max_size=12).map(lambda name: f"/hooks/{name}")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> GatewayHarness:
    return GatewayHarness(tmp_path_factory.mktemp("gateway"))


def _is_sound(answer: Answer) -> None:
    assert answer.status in REFUSED | {202, 303, 503}
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert b"Traceback" not in answer.body
    elif answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == answer.status
        assert "Traceback" not in answer.body.decode()


@given(PATHS, MEDIA, HEADERS, BODIES, st.integers(0, 40))
@example("/v1/events", "application/json", {"ce-specversion": "1.0", "ce-id": "\xff"}, b"{}", 0)
@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_request_gets_an_answer(
    harness: GatewayHarness, path: str, media: str, headers: dict[str, str], body: bytes, chunk: int
) -> None:
    given_headers = headers | {"content-type": media, "authorization": f"Bearer {harness.secrets['ingest']}"}
    answer = run(harness.request("POST", path, given_headers, body, chunk))
    _is_sound(answer)
    assert answer.status != 503 or path == "/hooks/unset"


@given(BODIES)
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_signed_body_is_mapped_or_kept(harness: GatewayHarness, body: bytes) -> None:
    before = len(harness.letters)
    signature = hmac.digest(HMAC_SECRET.encode(), body, "sha256").hex()
    answer = run(
        harness.request(
            "POST", "/hooks/phone", {"content-type": "application/json", "x-signature": f"sha256={signature}"}, body
        )
    )
    _is_sound(answer)
    assert answer.status not in (401, 503)
    if "errors" in answer.json and before < 100:
        assert len(harness.letters) == before + 1
