"""`firsthour up --demo`: made-up visitors and reps use the running system over HTTP, and the terminal shows what it does.

Everything on the screen comes from the system's own log; the demo only plays the people.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from rich.console import Console

from firsthour.demo import people
from firsthour.demo.people import Visitor
from firsthour.demo.screen import REDRAWN_PER_SECOND, Screen, footnote, table_of
from firsthour.demo.story import HELD, DemoStory, ObservedLead, Tally
from firsthour.runtime.clock import Clock, new_id
from firsthour.runtime.eventlog.log import EventLog
from firsthour.runtime.http.client import AsyncClient, HTTPError, Response
from firsthour.runtime.terminal import called, say
from schemas.errors import FirstHourError
from schemas.events.base import Event
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAssigned, TouchApplied
from schemas.team import Team
from schemas.topics import PAGES, ROUTES

LENGTH: Final = timedelta(hours=3)  # business time: three minutes at 60 times the speed
VISITORS_PER_HOUR: Final = 60.0
OPEN_DOORS: Final = 0.75  # visitors stop coming after this share of it, so that most clocks have run by the end
ACCEPTS_FIRST: Final = 0.4  # the share of reps who say yes before they call
REQUEST_SECONDS: Final = 10.0
BATCH: Final = 500


class DemoError(FirstHourError):
    """The running system rejects what the demo sends; the message contains its answer."""


async def run(
    *,
    url: str,
    key: str,
    clock: Clock,
    log: EventLog,
    team: Team,
    console: Console,
    speed: float = 60.0,
    length: timedelta = LENGTH,
    seed: int | None = None,
    stop: asyncio.Event | None = None,
    client: AsyncClient | None = None,
    goes_on: bool = False,
) -> Tally:
    """Play for `length` of business time or until `stop`, then print and return the table of the first hour.

    `url` and `key` (an admin's) are the running system's, `log` its event log. `seed`: the same people again. `goes_on`: the
    system serves on after the demo. Raises `DemoError`.
    """
    used = client or AsyncClient(base_url=url, timeout=REQUEST_SECONDS, trust_env=False)
    for line in look_around(url, key):
        say(line, console)
    screen = Screen(console, team.reps, speed)
    try:
        demo = DemoRun(used, key, clock, log, team, screen, random.Random(seed), length, stop or asyncio.Event())
        tally = await demo.play()
    finally:
        screen.stop()
        if client is None:
            await used.aclose()
    console.print(table_of(tally))
    console.print(footnote(), style="dim", soft_wrap=True)
    for line in ("", *(look_around(url, key) if goes_on else ()), *start_your_own()):
        say(line, console)
    return tally


def look_around(url: str, key: str) -> Iterator[str]:
    """Yield how to inspect the demo's data while it serves."""
    yield f"While this runs, look around at {url}/docs, with this key (admin; it ends with the demo):"
    yield f"  curl -sS -H 'Authorization: Bearer {key}' '{url}/v1/leads?status=assigned'"


def start_your_own() -> Iterator[str]:
    """Yield the next steps. The program is named as it was called: an inactive environment is not on the path."""
    program = called()
    yield "Start your own:"
    yield f"  {program} init config    three commented files: the agreement, the team, the sources"
    yield f"  {program} up             serve them; the line it prints posts your first lead"


@dataclass
class DemoRun:
    """One demo: its people and what was observed."""

    client: AsyncClient
    key: str
    clock: Clock
    log: EventLog
    team: Team
    screen: Screen
    chance: random.Random
    length: timedelta
    stop: asyncio.Event
    keys: dict[str, str] = field(default_factory=dict)  # of reps, by id
    emails: dict[str, str] = field(default_factory=dict)  # of leads, by id

    def __post_init__(self) -> None:
        self.story = DemoStory({rep.id: rep.name for rep in self.team.reps}, self.screen.say)
        self.screen.story = self.story
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup

    async def play(self) -> Tally:
        """Until the time is over or `stop` is set; the table as of that moment."""
        starts = {topic: await self.log.end(topic, 0) for topic in (ROUTES, PAGES)}
        await self._give_keys()
        self.screen.start(self.clock.business())
        try:
            await self._until_over(starts)
        except ExceptionGroup as several:
            failed = several.subgroup(DemoError)
            raise (failed or several).exceptions[0] from None
        return self.story.tally(self.clock.business())

    async def _until_over(self, starts: dict[str, int]) -> None:
        async with asyncio.TaskGroup() as self._group:
            for topic, start in starts.items():
                self._begin(self._follow(topic, start))
            self._begin(self._draw())
            self._begin(self._visitors())
            await self._over()
            for task in self._tasks:
                task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _over(self) -> None:
        try:
            async with asyncio.timeout(self.clock.real_seconds(self.length)):
                await self.stop.wait()
        except TimeoutError:
            pass

    async def _draw(self) -> None:
        while True:
            self.screen.draw(self.clock.business())
            await asyncio.sleep(1 / REDRAWN_PER_SECOND)

    async def _wait(self, for_: timedelta) -> None:
        await asyncio.sleep(self.clock.real_seconds(for_))

    # --- what the system says -----------------------------------------------------------------------------------------

    async def _follow(self, topic: str, after: int) -> None:
        while True:
            await self.log.ready(topic, 0, after)
            for record in await self.log.fetch(topic, 0, after, BATCH):
                after = record.position
                self.story.hear(record.event)
                self._react(record.event)

    def _react(self, event: Event) -> None:
        if isinstance(event, LeadAssigned):
            self.emails[event.lead_id] = event.card.email
        elif isinstance(event, PageSent):
            self._begin(self._paged(event))
        elif isinstance(event, TouchApplied):
            seen = self.story.leads.get(event.lead_id)
            if seen is not None and seen.won is None:
                self._begin(self._work(seen))

    # --- reps ---------------------------------------------------------------------------------------------------------

    async def _paged(self, page: PageSent) -> None:
        """A rep reads a page, and acts on it or ignores it."""
        answer = people.answer(self.chance, page.person, page.rung)
        if answer.act == "nothing":
            return
        await self._wait(answer.after)
        seen = self.story.leads.get(page.lead_id)
        if seen is None or seen.touched_at is not None or seen.epoch != page.epoch or seen.status not in HELD:
            return  # too late: another rep was quicker, or the lead has gone on
        if answer.act == "reject":
            if seen.owner == page.person:
                await self._act(page.person, seen, "reject", {"reason": answer.reason})
            return
        if seen.owner == page.person and self.chance.random() < ACCEPTS_FIRST:
            await self._act(page.person, seen, "accept")
            await self._wait(timedelta(minutes=self.chance.uniform(0.5, 3)))
        talked = self.chance.random() < 0.6
        await self._act(page.person, seen, "touch", {"channel": "phone", "answered": talked})

    async def _work(self, seen: ObservedLead) -> None:
        """After the first call: busy for a while, then a deal, or nothing."""
        waited = seen.waited or timedelta(0)
        won = self.chance.random() < people.odds(waited)
        await self._wait(people.talk(self.chance))
        rep = seen.touched_by or ""
        if won:
            event = {"type": "opportunity.changed", "id": new_id(), "email": self.emails.get(seen.id, "")}
            await self._send("/v1/events", self.key, event | {"data": {"stage": "open"}})
        elif not await self._act(seen.owner or rep, seen, "recycle", {"reason": "no-answer"}):
            return
        seen.won = won

    async def _act(self, rep: str, seen: ObservedLead, act: str, body: dict[str, Any] | None = None) -> bool:
        """Return whether it was applied: the lead may have changed owner meanwhile."""
        answer = await self._post(f"/v1/leads/{seen.id}/{act}", self.keys.get(rep, self.key), body)
        if answer.status_code in (401, 422) or answer.status_code >= 500:
            raise DemoError(f"{act} by {rep}: {answer.status_code} {answer.text}")
        return answer.is_success

    async def _give_keys(self) -> None:
        """Create a key for each rep, so that the history names them. Without one, the admin acts for the rep."""
        for rep in self.team.reps:
            asked = {"role": "manager" if self._manages(rep.id) else "sales", "name": f"demo {rep.id}", "rep": rep.id}
            answer = await self._post("/v1/keys", self.key, asked)
            if answer.is_success:
                self.keys[rep.id] = answer.json()["key"]

    def _manages(self, rep: str) -> bool:
        return any(other.manager == rep for other in self.team.reps)

    # --- visitors -----------------------------------------------------------------------------------------------------

    async def _visitors(self) -> None:
        opened = self.clock.business()
        number = 0
        while self.clock.business() < opened + self.length * OPEN_DOORS:
            await self._wait(timedelta(hours=self.chance.expovariate(VISITORS_PER_HOUR)))
            number += 1
            self._begin(self._visit(people.visitor(self.chance, number)))

    async def _visit(self, visitor: Visitor) -> None:
        """A visitor views some pages, and may fill in a form."""
        for path in visitor.paths:
            viewed = {"type": "page.viewed", "id": new_id(), "email": visitor.email, "data": {"path": path}}
            await self._send("/v1/events", self.key, viewed)
            await self._wait(timedelta(minutes=self.chance.uniform(0.3, 1.5)))
        if not visitor.form:
            return
        words = people.WORDS[visitor.form]
        self.screen.say(self.clock.business(), "", f"{visitor.name} ({visitor.company}) {words}")
        said = {
            "name": visitor.name,
            "email": visitor.email,
            "company": visitor.company,
            "title": visitor.title,
            "employees": visitor.employees,
        }
        await self._send(f"/v1/forms/{visitor.form}", None, said)

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _send(self, path: str, key: str | None, body: dict[str, Any]) -> None:
        answer = await self._post(path, key, body)
        if answer.status_code != 202:
            raise DemoError(f"{path}: {answer.status_code} {answer.text}")

    async def _post(self, path: str, key: str | None, body: dict[str, Any] | None) -> Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            return await self.client.post(path, json=body, headers=headers)
        except HTTPError as failed:
            if self.stop.is_set():
                raise asyncio.CancelledError from failed  # the demo is over
            raise DemoError(f"{path}: no answer ({type(failed).__name__})") from failed
