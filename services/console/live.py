"""Parts of a page that are sent again when leads change, over one connection for each page that is open.

Viewers who see the same get the same text, which is rendered once for each change. A viewer who reads slowly gets the newest
text when they are ready for it, and not those in between.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from firsthour.runtime.http.errors import as_problem
from firsthour.runtime.http.event_streams import HEARTBEAT, event_bytes
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.unit import StorageError
from services.console.viewer import SignInNeededError, Viewer, Viewers

PAUSE_SECONDS: Final = 0.25
"""Real time between two texts, in which further changes are collected."""
HEARTBEAT_SECONDS: Final = 15.0
"""After it the parts are rendered in any case, and the session is examined again."""
AGE_SECONDS: Final = 5.0
"""A text is rendered again after this time even without a change: times pass, and signals can be missed."""
KEPT: Final = 200  # rendered parts

Regions = Mapping[str, str]
"""HTML by the name of the part."""
RenderRegions = Callable[[], Awaitable[Regions]]
_encode = msgspec.json.Encoder().encode


class Changes(Protocol):
    """The signal that leads have changed."""

    number: int
    """Grows with each change."""

    def enter(self) -> None:
        """Add a viewer."""

    def leave(self) -> None:
        """Remove a viewer."""

    async def next(self, after: int, seconds: float) -> int:
        """Return the number of the newest change once it is beyond `after`, or after `seconds` of real time."""


@dataclass(frozen=True)
class LivePage:
    """The parts of one page. `shared`: what decides their content besides the changes; equal ones are rendered once."""

    shared: Hashable
    render: RenderRegions


def sight_of(viewer: Viewer) -> Hashable:
    """Return what decides the content of a page without forms for a viewer."""
    return viewer.session.role, viewer.session.rep, viewer.language, str(viewer.zone)


class RenderedPart(NamedTuple):
    """A text that several viewers get. `number`: of the newest change when it was begun."""

    number: int
    begun_at: float  # of the clock of the event loop
    text: "asyncio.Task[bytes]"


class LiveRegions:
    """Sends the parts of pages to their viewers."""

    def __init__(self, changes: Changes, viewers: Viewers) -> None:
        self._changes, self._viewers = changes, viewers
        self._rendered: OrderedDict[Hashable, RenderedPart] = OrderedDict()

    async def stream(self, viewer: Viewer, page: LivePage) -> AsyncIterator[bytes]:
        """Yield the parts of a page now, and whenever they differ after a change. It ends with the session."""
        self._changes.enter()
        try:
            sent, after, examined_at = b"", self._changes.number, asyncio.get_running_loop().time()
            yield b"retry: 2000\n\n"
            while True:
                part = await self._part(page, after)
                if part != sent:
                    sent = part
                    yield part
                else:
                    yield HEARTBEAT
                await asyncio.sleep(PAUSE_SECONDS)
                after = await self._changes.next(after, HEARTBEAT_SECONDS)
                now = asyncio.get_running_loop().time()
                if now >= examined_at + HEARTBEAT_SECONDS:
                    await self._viewers.find(viewer.request)
                    examined_at = now
        except SignInNeededError:
            yield event_bytes(b"{}", event="ended")
        finally:
            self._changes.leave()

    async def _part(self, page: LivePage, number: int) -> bytes:
        """Return the event with the parts as of this change. A viewer who asks meanwhile waits for the same text."""
        now = asyncio.get_running_loop().time()
        known = self._rendered.get(page.shared)
        if known is None or known.number < number or (known.text.done() and now - known.begun_at > AGE_SECONDS):
            known = RenderedPart(number, now, asyncio.create_task(_event_of(page)))
            self._rendered[page.shared] = known
            self._rendered.move_to_end(page.shared)
            while len(self._rendered) > KEPT:
                self._rendered.popitem(last=False)
        return await asyncio.shield(known.text)


async def _event_of(page: LivePage) -> bytes:
    try:
        regions = await page.render()
    except (Problem, StorageError) as error:
        problem = as_problem(error)
        if problem.status == 404:  # the viewer no longer sees it: the page is loaded again
            return event_bytes(b"{}", event="ended")
        return event_bytes(_encode({"problem": problem.detail or problem.title}), event="problem")
    return event_bytes(_encode(regions), event="regions")
