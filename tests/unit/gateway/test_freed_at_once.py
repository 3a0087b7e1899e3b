"""What a refused request needed is freed when it is answered: the collector, which looks for cycles seldom, has no part
in it. A body that waits for the collector is memory that strangers can fill.
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
    "a form with a bad address": (lambda room: room.form({"email": "none"}), 422),
    "a form with a bad number": (lambda room: room.form({"phone": "none"}), 422),
    "a form with nothing": (lambda room: room.form({"name": "Ann"}), 422),
    "a form of another type": (lambda room: room.form({"email": "ann@acme.example"}, content_type="text/plain"), 415),
    "an event": (lambda room: room.event(SEEN), 422),
    "events": (lambda room: room.event([SEEN, SEEN]), 422),
    "a webhook": (lambda room: phoned(room, json.dumps(CALL).encode()), 422),
    "a webhook of a list": (lambda room: phoned(room, json.dumps([CALL, CALL]).encode()), 422),
    "a webhook that does not fit the mapping": (
        lambda room: phoned(room, json.dumps(CALL | {"duration": "long"}).encode()),
        422,
    ),
}


@pytest.fixture
def uncollected() -> Iterator[list[object]]:
    """What only the collector finds."""
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
async def test_a_refused_request_keeps_no_frame_and_so_no_body(
    room: GatewayHarness, uncollected: list[object], name: str
) -> None:
    post, status = POSTS[name]
    answer = await post(room)
    assert answer.status == status
    gc.collect()
    assert [one for one in uncollected if isinstance(one, FrameType | TracebackType)] == []
