"""`firsthour up --demo`: made-up visitors and reps use the running system over HTTP, and the terminal shows the events.

Everything on the screen comes from the system's event log; the demo only plays the people.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from rich.console import Console

from firsthour.demo import people
from firsthour.demo.client import DemoClient, DemoError
from firsthour.demo.people import Visitor
from firsthour.demo.screen import REDRAWN_PER_SECOND, Screen, footnote, table_of
from firsthour.demo.story import HELD, DemoStory, ObservedLead, Tally
from firsthour.runtime.clock import Clock, new_id
from firsthour.runtime.eventlog.log import EventLog
from firsthour.runtime.http.client import AsyncClient
from firsthour.runtime.terminal import program_name, say
from schemas.events.base import Event
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAssigned, TouchApplied
from schemas.team import Team
from schemas.topics import PAGES, ROUTES

LENGTH: Final = timedelta(hours=3)  # business time: three minutes at 60 times the speed
VISITORS_PER_HOUR: Final = 60.0
OPEN_DOORS: Final = 0.75  # visitors come only during this share of the demo, so that most clocks have ended by its end
ACCEPTS_FIRST: Final = 0.4  # the share of reps who accept a lead before they call
REQUEST_SECONDS: Final = 10.0
BATCH: Final = 500


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
    console_link: str = "",
) -> Tally:
    """Play until the end or `stop`, then print and return the table of the first hour.

    Args:
        url: the address of the running system.
        key: an admin key.
        clock: the clock of the running system.
        log: its event log.
        team: its reps.
        console: where events and tables are printed.
        speed: the speed of the clock, for the title.
        length: the length of the demo, in business time.
        seed: the same seed gives the same people. None: different people in each demo.
        stop: ends the demo when set.
        client: the HTTP client. None: a new one for `url`.
        goes_on: the system continues to serve after the demo.
        console_link: a one-time link to the console, or the command that shows it. Empty: none is shown.

    Raises:
        DemoError: The system rejected a request.
    """
    http = client or AsyncClient(base_url=url, timeout=REQUEST_SECONDS, trust_env=False)
    for line in (*open_console(console_link), *look_around(url, key)):
        say(line, console)
    screen = Screen(console, team.reps, speed, console_link)
    try:
        requests = DemoClient(http, key, stop or asyncio.Event())
        demo = DemoRun(requests, clock, log, team, screen, random.Random(seed), length)
        tally = await demo.play()
    finally:
        screen.stop()
        if client is None:
            await http.aclose()
    console.print(table_of(tally))
    console.print(footnote(), style="dim", soft_wrap=True)
    for line in ("", *(look_around(url, key) if goes_on else ()), *start_your_own()):
        say(line, console)
    return tally


def open_console(link: str) -> Iterator[str]:
    """Yield the lines that lead to the console, if there is a link."""
    if link:
        yield "To watch in the console (the link works once, within 15 minutes):"
        yield f"  {link}"


def look_around(url: str, key: str) -> Iterator[str]:
    """Yield the lines that tell how to inspect the data while the system runs."""
    yield f"While this runs, look around at {url}/docs, with this admin key (valid until the demo ends):"
    yield f"  curl -sS -H 'Authorization: Bearer {key}' '{url}/v1/leads?status=assigned'"


def start_your_own() -> Iterator[str]:
    """Yield the next steps. The program is named as the user called it, because it may not be on the PATH."""
    program = program_name()
    yield "Start your own:"
    yield f"  {program} init config    writes three commented files: the agreement, the team, the sources"
    yield f"  {program} up             serves them; the command that it prints posts your first lead"


@dataclass
class DemoRun:
    """One demo: the actions of its people, and the story that the screen shows."""

    client: DemoClient
    clock: Clock
    log: EventLog
    team: Team
    screen: Screen
    chance: random.Random
    length: timedelta
    emails: dict[str, str] = field(default_factory=dict)  # of leads, by id

    def __post_init__(self) -> None:
        self.story = DemoStory({rep.id: rep.name for rep in self.team.reps}, self.screen.say)
        self.screen.story = self.story
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup

    async def play(self) -> Tally:
        """Play until the time is over or `stop` is set. Return the figures of that moment."""
        starts = {topic: await self.log.end(topic, 0) for topic in (ROUTES, PAGES)}
        await self.client.create_keys(self.team)
        self.screen.start(self.clock.business())
        try:
            await self._until_over(starts)
        except ExceptionGroup as group:
            errors = group.subgroup(DemoError)
            raise (errors or group).exceptions[0] from None
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
                await self.client.stop.wait()
        except TimeoutError:
            pass

    async def _draw(self) -> None:
        while True:
            self.screen.draw(self.clock.business())
            await asyncio.sleep(1 / REDRAWN_PER_SECOND)

    async def _wait(self, duration: timedelta) -> None:
        await asyncio.sleep(self.clock.real_seconds(duration))

    # --- events of the system -----------------------------------------------------------------------------------------

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
            lead = self.story.leads.get(event.lead_id)
            if lead is not None and lead.won is None:
                self._begin(self._work(lead))

    # --- reps ---------------------------------------------------------------------------------------------------------

    async def _paged(self, page: PageSent) -> None:
        """Let a rep read a page, and act on it or ignore it."""
        answer = people.answer(self.chance, page.person, page.rung)
        if answer.act == "nothing":
            return
        await self._wait(answer.after)
        lead = self.story.leads.get(page.lead_id)
        if lead is None or lead.touched_at is not None or lead.epoch != page.epoch or lead.status not in HELD:
            return  # too late: the lead was touched, has another owner, or is no longer with Sales
        if answer.act == "reject":
            if lead.owner == page.person:
                await self.client.act(page.person, lead, "reject", {"reason": answer.reason})
            return
        if lead.owner == page.person and self.chance.random() < ACCEPTS_FIRST:
            await self.client.act(page.person, lead, "accept")
            await self._wait(timedelta(minutes=self.chance.uniform(0.5, 3)))
        is_answered = self.chance.random() < 0.6
        await self.client.act(page.person, lead, "touch", {"channel": "phone", "answered": is_answered})

    async def _work(self, lead: ObservedLead) -> None:
        """Let a rep work on a lead after the first call, until the lead is a deal or is recycled."""
        wait = lead.waited or timedelta(0)
        won = self.chance.random() < people.odds(wait)
        await self._wait(people.talk(self.chance))
        rep = lead.touched_by or ""
        if won:
            event = {"type": "opportunity.changed", "id": new_id(), "email": self.emails.get(lead.id, "")}
            await self.client.post_event(event | {"data": {"stage": "open"}})
        elif not await self.client.act(lead.owner or rep, lead, "recycle", {"reason": "no-answer"}):
            return
        lead.won = won

    # --- visitors -----------------------------------------------------------------------------------------------------

    async def _visitors(self) -> None:
        start = self.clock.business()
        number = 0
        while self.clock.business() < start + self.length * OPEN_DOORS:
            await self._wait(timedelta(hours=self.chance.expovariate(VISITORS_PER_HOUR)))
            number += 1
            self._begin(self._visit(people.visitor(self.chance, number)))

    async def _visit(self, visitor: Visitor) -> None:
        """Let a visitor view some pages, and perhaps fill in a form."""
        for path in visitor.paths:
            event = {"type": "page.viewed", "id": new_id(), "email": visitor.email, "data": {"path": path}}
            await self.client.post_event(event)
            await self._wait(timedelta(minutes=self.chance.uniform(0.3, 1.5)))
        if not visitor.form:
            return
        words = people.WORDS[visitor.form]
        self.screen.say(self.clock.business(), "", f"{visitor.name} ({visitor.company}) {words}")
        fields = {
            "name": visitor.name,
            "email": visitor.email,
            "company": visitor.company,
            "title": visitor.title,
            "employees": visitor.employees,
            "country": visitor.country,
            "phone": visitor.phone,
            "message": visitor.message,
        }
        await self.client.post_form(visitor.form, fields)
