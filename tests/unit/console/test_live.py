"""Texts that viewers share: rendered once for all, only what differs, and nothing is kept for a viewer who reads slowly."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from firsthour.runtime.http.event_streams import HEARTBEAT
from firsthour.runtime.http.problem import Problem
from services.console import live
from services.console.live import LivePage, LiveRegions

VIEWERS = 30


class HandChanges:
    """Changes that a test makes."""

    def __init__(self) -> None:
        self.number, self.viewers = 0, 0
        self._changed = asyncio.Event()

    def enter(self) -> None:
        self.viewers += 1

    def leave(self) -> None:
        self.viewers -= 1

    def change(self) -> None:
        self.number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def next(self, after: int, seconds: float) -> int:
        if self.number <= after:
            await self._changed.wait()
        return self.number


class RenderedPage:
    """A page of two parts, of which one changes. `failure`: raised in place of the text."""

    def __init__(self) -> None:
        self.count, self.rendered = 0, 0
        self.failure: Exception | None = None

    async def render(self) -> dict[str, str]:
        self.rendered += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return {"count": str(self.count), "still": "x"}


@pytest.fixture(autouse=True)
def without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE_SECONDS", 0.0)


def opened(changes: HandChanges, page: RenderedPage, count: int) -> list[AsyncIterator[bytes]]:
    regions, anyone = LiveRegions(changes, None), None  # type: ignore[arg-type]  # no session is examined before the heartbeat
    return [regions.stream(anyone, LivePage("page", page.render)) for _ in range(count)]  # type: ignore[arg-type]


async def next_event(stream: AsyncIterator[bytes]) -> tuple[str, Any]:
    """Return name and data of the next event."""
    async for text in stream:
        if text != HEARTBEAT and not text.startswith(b"retry"):
            name, data = text.decode().strip().split("\n")
            return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))
    raise AssertionError("the stream has ended")


async def close(streams: list[AsyncIterator[bytes]]) -> None:
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_text_is_rendered_once_for_all_viewers_and_only_what_differs_is_sent() -> None:
    changes, page = HandChanges(), RenderedPage()
    streams = opened(changes, page, VIEWERS)
    events = await asyncio.gather(*map(next_event, streams))
    assert events == [("regions", {"count": "0", "still": "x"})] * VIEWERS
    assert page.rendered == 1
    waiting = asyncio.gather(*map(next_event, streams))
    await asyncio.sleep(0)
    page.count = 1
    changes.change()
    assert await waiting == [("regions", {"count": "1"})] * VIEWERS
    assert page.rendered == 2
    await close(streams)
    assert changes.viewers == 0


async def test_viewer_who_reads_slowly_gets_the_newest_text_alone() -> None:
    changes, page = HandChanges(), RenderedPage()
    quick, slow = opened(changes, page, 2)
    await asyncio.gather(next_event(quick), next_event(slow))
    for number in range(1, 4):
        waiting = asyncio.ensure_future(next_event(quick))
        await asyncio.sleep(0)
        page.count = number
        changes.change()
        assert await waiting == ("regions", {"count": str(number)})
    assert await next_event(slow) == ("regions", {"count": "3", "still": "x"})
    await close([quick, slow])


async def test_nothing_is_rendered_without_viewers() -> None:
    changes, page = HandChanges(), RenderedPage()
    streams = opened(changes, page, 1)
    await next_event(streams[0])
    await close(streams)
    for _ in range(10):
        changes.change()
        await asyncio.sleep(0)
    assert page.rendered == 1


async def test_problem_is_told_and_the_whole_text_comes_after_it() -> None:
    changes, page = HandChanges(), RenderedPage()
    streams = opened(changes, page, 1)
    await next_event(streams[0])
    seen = []
    for failure in (Problem(503), None):
        waiting = asyncio.ensure_future(next_event(streams[0]))
        await asyncio.sleep(0)
        page.failure = failure
        changes.change()
        seen.append(await waiting)
    assert seen[0][0] == "problem"
    assert seen[1] == ("regions", {"count": "0", "still": "x"})
    await close(streams)


async def test_fault_of_a_page_ends_its_streams() -> None:
    changes, page = HandChanges(), RenderedPage()
    streams = opened(changes, page, 2)
    await asyncio.gather(*map(next_event, streams))
    waiting = asyncio.gather(*map(next_event, streams), return_exceptions=True)
    await asyncio.sleep(0)
    page.failure = ZeroDivisionError()
    changes.change()
    assert [type(result) for result in await waiting] == [ZeroDivisionError] * 2
    await close(streams)
