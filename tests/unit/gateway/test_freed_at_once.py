"""A rejected request is freed when it is answered, without the garbage collector, which rarely runs.

A body that waits for the collector is memory that an untrusted sender can fill.
"""

import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType, TracebackType
from typing import Final

import pytest

from tests.unit.gateway.harness import Answer, GatewayHarness
from tests.unit.gateway.test_webhooks import phoned

Post = Callable[[GatewayHarness], Awaitable[Answer]]
CALL: Final = {"kind": "call.ended", "uuid": "1", "customer": {"email": "none"}}
SEEN: Final = {"id": "1", "type": "page.viewed", "email": "none"}
POSTS: Final[dict[str, tuple[Post, int]]] = {
    "a form with a bad address": (lambda harness: harness.form({"email": "none"}), 422),
    "a form with a bad number": (lambda harness: harness.form({"phone": "none"}), 422),
    "a form with nothing": (lambda harness: harness.form({"name": "Ann"}), 422),
    "a form of another type": (
        lambda harness: harness.form({"email": "ann@acme.example"}, content_type="text/plain"),
        415,
    ),
    "an event": (lambda harness: harness.event(SEEN), 422),
    "events": (lambda harness: harness.event([SEEN, SEEN]), 422),
    "a webhook": (lambda harness: phoned(harness, json.dumps(CALL).encode()), 202),
    "a webhook of a list": (lambda harness: phoned(harness, json.dumps([CALL, CALL]).encode()), 202),
    "a webhook that does not fit the mapping": (
        lambda harness: phoned(harness, json.dumps(CALL | {"duration": "long"}).encode()),
        202,
    ),
}


@pytest.fixture
def uncollected() -> Iterator[list[object]]:
    """Return the objects that only the garbage collector frees."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("name", POSTS)
async def test_rejected_request_leaves_no_frame_for_the_collector(
    harness: GatewayHarness, uncollected: list[object], name: str
) -> None:
    post, status = POSTS[name]
    answer = await post(harness)
    assert answer.status == status
    gc.collect()
    assert [one for one in uncollected if isinstance(one, FrameType | TracebackType)] == []
