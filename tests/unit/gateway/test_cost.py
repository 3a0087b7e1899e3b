"""The work for an accepted body is linear in its size. Operations are counted, not seconds.

Counted are calls of functions of the gateway, the characters of their arguments, and the cost of canonical ordering (the
square of the length of each run of combining marks).
"""

import hmac
import json
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from tests.examples import examples
from tests.unit.gateway.harness import HMAC_SECRET, STANDARD_SECRET, Answer, GatewayHarness, run
from tests.unit.gateway.sample_forms import multipart

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
OURS = tuple(f"{ROOT / package}/" for package in ("firsthour", "services"))
BODY_MAX = 256 * 1024
PER_BYTE = 24
OF_A_REQUEST = 300_000  # a batch has the fixed work of its 200 events
MARKS = "a" + "\u0301\u0316" * 7_500
UNITS = ["a", "\u0301\u0316", "\u0f73", "\u3164", " ", ".", "\xe9", "\U0001d165", "\ufdfa", "\u1100\u1161", "[", "]["]
SHAPES = ["leaves", "chain", "list", "value", "names", "deep list", "people"]
PATHS = [
    "event",
    "batch",
    "cloud event",
    "binary cloud event",
    "cloud event batch",
    "json",
    "urlencoded",
    "multipart",
    "hook",
    "hook list",
    "hook without mapping",
]


class Work:
    """Counts operations."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS):
            arguments = (frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount])
            self.steps += 1 + sum(len(value) for value in arguments if isinstance(value, str))


@contextmanager
def counted() -> Iterator[Work]:
    work, normalize = Work(), unicodedata.normalize

    def counting(form: Any, text: str) -> str:
        runs = groupby(
            text, lambda c: bool(unicodedata.combining(unicodedata.normalize("NFD", c)[-1])) if c > "\u02ff" else False
        )
        work.steps += len(text) + sum(len(list(run)) ** 2 for marks, run in runs if marks)
        return normalize(form, text)

    def outside(form: Any, text: str) -> str:
        return normalize(form, text) if len(text) < 2 else counting(form, text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unicodedata, "normalize", outside)
        sys.setprofile(work)
        try:
            yield work
        finally:
            sys.setprofile(None)


def data_of(shape: str, unit: str, size: int, leaves: int) -> dict[str, Any]:
    """Return the hostile part of a body of about `size` bytes."""
    text = unit * max(1, min(size, 60_000) // len(json.dumps(unit, ensure_ascii=False).encode()))
    match shape:
        case "leaves":
            return {text: {f"{n}{unit}": 1 for n in range(leaves)}}
        case "chain":
            part = text[: max(1, len(text) // 4)]
            return {part: {part: {part: {part: list(range(leaves))}}}}
        case "list":
            return {"a": [text[: max(1, 2 * len(text) // leaves)]] * leaves, "company": [unit] * leaves}
        case "value":
            return {"name": text, "company": {"name": text, "domain": text}, "phone": text, "country": text}
        case "names":
            return {f"{n}{unit}": text[: max(1, len(text) // leaves)] for n in range(leaves)}
        case "deep list":
            return {"a": {"b": {"c": {"d": [[text[:100]]] * leaves}}}}
    return {"company": {f"{n}{unit}": unit for n in range(leaves)}, "custom": {text: {text[:99]: [1] * leaves}}}


def body_of(path: str, data: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    """Return the path, the headers and the body."""
    event = {"id": "1", "type": "form.submitted", "email": "a@corp.example", "data": data}
    media = {"content-type": "application/json"}
    match path:
        case "event" | "batch":
            return "/v1/events", media, _json(event if path == "event" else [event])
        case "cloud event" | "cloud event batch" | "binary cloud event":
            attributes = {
                "specversion": "1.0",
                "source": "/x",
                "id": "1",
                "type": "page.viewed",
                "subject": "a@corp.example",
            }
            if path == "binary cloud event":
                return "/v1/events", media | {f"ce-{name}": value for name, value in attributes.items()}, _json(data)
            event = attributes | {"data": data}
            if path == "cloud event":
                return "/v1/events", {"content-type": "application/cloudevents+json"}, _json(event)
            many = [{**event, "id": str(n), "data": data if n == 0 else {}} for n in range(200)]
            return "/v1/events", {"content-type": "application/cloudevents-batch+json"}, _json(many)
        case "json":
            return "/v1/forms/demo-request", media, _json({"email": "a@corp.example"} | data)
        case "urlencoded" | "multipart":
            pairs = [("email", "a@corp.example"), *((name, str(value)) for name, value in list(data.items())[:499])]
            if path == "urlencoded":
                body = urlencode([(name[:20_000], value[:20_000]) for name, value in pairs]).encode()
                return "/v1/forms/demo-request", {"content-type": "application/x-www-form-urlencoded"}, body
            quoted = [(f'name="{name[:1_300]}"', value.encode()) for name, value in pairs if '"' not in name]
            return "/v1/forms/demo-request", *multipart(quoted)
        case "hook without mapping":
            return "/hooks/ours", media, _json({"type": "page.viewed", "data": {"email": "a@corp.example"} | data})
    call = {"kind": "call.ended", "customer": {"email": "a@corp.example"}, "note": str(data), "uuid": "1"}
    call["agent"] = {"email": data}
    return "/hooks/phone", media, _json(call if path == "hook" else [call, {**call, "uuid": ""}])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


async def post(harness: GatewayHarness, path: str, headers: dict[str, str], body: bytes) -> Answer:
    key = {"authorization": f"Bearer {harness.secrets['ingest']}"}
    signature = hmac.digest(HMAC_SECRET.encode(), body, "sha256").hex()
    signed = {"x-signature": f"sha256={signature}"}
    if path == "/hooks/ours":
        now = harness.clock.real()
        signature = Webhook(STANDARD_SECRET).sign("1", now, body.decode())
        stamp = str(int(now.timestamp()))
        signed = {"webhook-id": "1", "webhook-timestamp": stamp, "webhook-signature": signature}
    return await harness.request("POST", path, headers | key | signed, body)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> GatewayHarness:
    return GatewayHarness(tmp_path_factory.mktemp("gateway"))


@pytest.mark.parametrize("path", PATHS)
def test_each_kind_of_request_accepts_an_ordinary_body(harness: GatewayHarness, path: str) -> None:
    """Check that the bodies are accepted: otherwise the other test would count the work for a rejection."""
    assert run(post(harness, *body_of(path, {"title": "CTO", "kind": "call"}))).status == 202


@given(
    st.sampled_from(PATHS),
    st.sampled_from(SHAPES),
    st.sampled_from(UNITS),
    st.integers(1, 60_000),
    st.integers(1, 9_000),
)
@example("json", "leaves", "\u0301\u0316", 30_000, 5_000)
@example("json", "leaves", "a", 60_000, 9_000)
@example("json", "value", "\u0301\u0316", 60_000, 1)
@example("multipart", "value", "\u0301\u0316", 60_000, 1)
@example("urlencoded", "value", "\u0301\u0316", 60_000, 1)
@example("hook", "leaves", "a", 60_000, 9_000)
@example("binary cloud event", "leaves", "a", 60_000, 9_000)
@example("cloud event batch", "leaves", "a", 60_000, 9_000)
@example("cloud event batch", "leaves", "a", 318, 8_400)
@example("hook without mapping", "leaves", "a", 60_000, 9_000)
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_work_for_a_body_is_linear_in_its_size(
    harness: GatewayHarness, path: str, shape: str, unit: str, size: int, leaves: int
) -> None:
    where, headers, body = body_of(path, data_of(shape, unit, size, leaves))
    if len(body) > BODY_MAX:
        return
    with counted() as work:
        answer = run(post(harness, where, headers, body))
    assert answer.status in (202, 400, 422)
    assert work.steps <= PER_BYTE * len(body) + OF_A_REQUEST
