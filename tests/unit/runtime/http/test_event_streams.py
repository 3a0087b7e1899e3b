"""How many answers stay open."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from firsthour.runtime.http import event_streams
from firsthour.runtime.http.event_streams import OpenStreams, bound_streams
from firsthour.runtime.http.problem import Problem


async def opened(streams: OpenStreams, viewer: str, number: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(number)]
    for task in tasks:
        streams.add(task, viewer)
    await asyncio.gather(*tasks)
    return tasks


async def test_one_viewer_cannot_hold_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "OF_ONE_VIEWER_MAX", 3)
    streams = OpenStreams(10)
    tasks = await opened(streams, "session:a", 3)
    with pytest.raises(Problem) as refused:
        streams.admit("session:a")
    assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "10")
    streams.admit("session:b")
    streams.remove(tasks[0])
    streams.admit("session:a")


async def test_streams_leave_connections_for_other_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = OpenStreams()
    monkeypatch.setattr(event_streams, "_open", streams)
    bound_streams(10)
    for viewer in ("session:a", "session:b", "session:c", "session:d", "session:e"):
        streams.admit(viewer)
        await opened(streams, viewer, 1)
    with pytest.raises(Problem) as refused:
        streams.admit("session:f")
    assert refused.value.status == 503


async def test_stream_counts_for_its_viewer_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "OF_ONE_VIEWER_MAX", 1)
    monkeypatch.setattr(event_streams, "_open", OpenStreams())
    begun, end = asyncio.Event(), asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        begun.set()
        await end.wait()
        yield b":\n\n"

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def send(_: object) -> None:
        pass

    first = asyncio.create_task(event_streams.EventStreamResponse(parts(), "key")({}, receive, send))
    await begun.wait()
    with pytest.raises(Problem):
        event_streams.EventStreamResponse(parts(), "key")
    end.set()
    await first
    event_streams.EventStreamResponse(parts(), "key")
