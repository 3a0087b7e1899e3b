"""Parts of a page that are sent again when leads change, over one connection for each page that is open.

Viewers who see the same share one text. One task renders it anew after changes, at most a few times a second, and only while
there are viewers. A viewer gets the parts that differ from the text before; one who has missed a text gets the newest as a whole.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from firsthour.runtime.http.errors import as_problem
from firsthour.runtime.http.event_streams import HEARTBEAT, event_bytes
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.unit import StorageError
from services.console.pacing import PacedWork
from services.console.viewer import SignInNeededError, Viewer, Viewers

PAUSE_SECONDS: Final = 0.25
"""Real time between two texts, in which further changes are collected."""
PAUSE_SECONDS_MAX: Final = 4.0
SHARE: Final = 0.05
"""The share of a process that rendering texts and waking their viewers gets while changes do not end."""
CREDIT_SECONDS_MAX: Final = 0.15
"""Rendering that the share has earned while nothing changed: a single lead, whose records come one by one, is shown at once."""
HEARTBEAT_SECONDS: Final = 15.0
"""After it the parts are rendered in any case, because times pass, and the session is examined again."""
AGE_SECONDS: Final = 5.0
"""A new viewer does not get a text that is older."""
WOKEN_AT_ONCE: Final = 4
"""Viewers who get a new text before other work of the process has its turn."""
WAKE_PAUSE_SECONDS: Final = 0.003
"""Real time of that turn."""
TURN_SECONDS: Final = 0.001
"""Rendering before other work of the process has its turn."""

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


async def rendered(names: Iterable[str], pieces: Callable[[str], Iterator[str]]) -> Regions:
    """Render parts. `pieces`: of the HTML of one part. Other work of the process has its turn several times meanwhile."""
    loop, regions = asyncio.get_running_loop(), dict[str, str]()
    begun_at = loop.time()
    for name in names:
        texts = []
        for text in pieces(name):
            texts.append(text)
            if loop.time() - begun_at > TURN_SECONDS:
                await asyncio.sleep(0)
                begun_at = loop.time()
        regions[name] = "".join(texts)
    return regions


def sight_of(viewer: Viewer) -> Hashable:
    """Return what decides the content of a page without forms for a viewer."""
    return viewer.session.role, viewer.session.rep, viewer.language, str(viewer.zone)


class SharedPart:
    """The text of all viewers who see the same page. `version`: grows with each text; 0: there is none yet."""

    def __init__(self, page: LivePage, changes: Changes) -> None:
        self.page, self._changes = page, changes
        self.viewers, self.version = 0, 0
        self._whole = self._step = b""  # the newest text, and what differs from the one before
        self._regions: Regions = {}
        self._begun_at, self._credit = 0.0, CREDIT_SECONDS_MAX
        self._rendering = asyncio.Lock()
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._failure: Exception | None = None
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # raised by `next`

    def end(self) -> None:
        """Stop rendering."""
        self._task.cancel()

    def since(self, version: int) -> bytes:
        """Return the text for a viewer who has this version."""
        return self._step if version == self.version - 1 else self._whole

    async def refresh(self) -> None:
        """Render the text for a new viewer, unless it is young. Viewers who ask meanwhile wait for the same text."""
        async with self._rendering:
            age = asyncio.get_running_loop().time() - self._begun_at
            if not self.version or age > AGE_SECONDS:
                await self._render()

    async def next(self, version: int, seconds: float) -> None:
        """Return once there is a text beyond this version, or after these seconds. Raises what has ended the rendering."""
        if self.version == version and self._failure is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                async with asyncio.timeout(seconds):
                    await waiter
            except TimeoutError:
                pass
            finally:
                self._waiters.pop(waiter, None)
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        try:
            number = self._changes.number
            await self.refresh()
            ended_at = asyncio.get_running_loop().time()
            while True:
                await asyncio.sleep(pause_of(self._credit))
                await self._changes.next(number, HEARTBEAT_SECONDS)
                number, now = self._changes.number, asyncio.get_running_loop().time()
                async with self._rendering:
                    self._credit = min(self._credit + (now - ended_at) * SHARE, CREDIT_SECONDS_MAX)
                    text = PacedWork(self._render(), spread=self._credit < CREDIT_SECONDS_MAX / 2)
                    await text
                    self._credit -= text.spent
                ended_at = asyncio.get_running_loop().time()
        except Exception as failure:
            self._failure = failure
            await self._wake()
            raise

    async def _render(self) -> None:
        self._begun_at = asyncio.get_running_loop().time()
        regions, whole = await _event_of(self.page)
        if whole == self._whole:
            return
        changed = {name: html for name, html in regions.items() if self._regions.get(name) != html}
        self._step = _regions_event(changed) if self._regions and changed else whole
        self._whole, self._regions = whole, regions
        self.version += 1
        await self._wake()

    async def _wake(self) -> None:
        """Wake the viewers, some at a time: a request that arrives meanwhile does not wait for all of them."""
        waiters, self._waiters = list(self._waiters), {}
        for number, waiter in enumerate(waiters, 1):
            if not waiter.done():
                waiter.set_result(None)
            if number % WOKEN_AT_ONCE == 0:
                await asyncio.sleep(WAKE_PAUSE_SECONDS)


def pause_of(credit: float) -> float:
    """Return the seconds until the next text may be rendered. `credit`: seconds of rendering; below 0, they are earned first."""
    return max(PAUSE_SECONDS, min(-credit / SHARE, PAUSE_SECONDS_MAX))


class LiveRegions:
    """Sends the parts of pages to their viewers."""

    def __init__(self, changes: Changes, viewers: Viewers) -> None:
        self._changes, self._viewers = changes, viewers
        self._parts: dict[Hashable, SharedPart] = {}

    async def stream(self, viewer: Viewer, page: LivePage) -> AsyncIterator[bytes]:
        """Yield the parts of a page now, and whenever they differ after a change. It ends with the session."""
        part = self._enter(page)
        try:
            sent, examined_at = 0, asyncio.get_running_loop().time()
            yield b"retry: 2000\n\n"
            await part.refresh()
            while True:
                if part.version == sent:
                    yield HEARTBEAT
                else:
                    text, sent = part.since(sent), part.version
                    yield text
                await part.next(sent, HEARTBEAT_SECONDS)
                now = asyncio.get_running_loop().time()
                if now >= examined_at + HEARTBEAT_SECONDS:
                    await self._viewers.find(viewer.request)
                    examined_at = now
        except SignInNeededError:
            yield event_bytes(b"{}", event="ended")
        finally:
            self._leave(page, part)

    def _enter(self, page: LivePage) -> SharedPart:
        self._changes.enter()
        part = self._parts.get(page.shared)
        if part is None:
            part = self._parts[page.shared] = SharedPart(page, self._changes)
        part.page = page  # of a viewer whose session is the newest
        part.viewers += 1
        return part

    def _leave(self, page: LivePage, part: SharedPart) -> None:
        self._changes.leave()
        part.viewers -= 1
        if part.viewers == 0:
            part.end()
            if self._parts.get(page.shared) is part:
                del self._parts[page.shared]


async def _event_of(page: LivePage) -> tuple[Regions, bytes]:
    """Return the parts and their event. Without parts: the event tells why."""
    try:
        regions = await page.render()
    except (Problem, StorageError) as error:
        problem = as_problem(error)
        if problem.status == 404:  # the viewer no longer sees it: the page is loaded again
            return {}, event_bytes(b"{}", event="ended")
        return {}, event_bytes(_encode({"problem": problem.detail or problem.title}), event="problem")
    return regions, _regions_event(regions)


def _regions_event(regions: Regions) -> bytes:
    return event_bytes(_encode(regions), event="regions")
