"""The live feed of `up` in a terminal: a line for each lead and page, and a count when there are too many."""

import asyncio
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.records import Record
from schemas import topics
from schemas.events.routes import LeadAssigned, LeadQueued
from services.notifier.channels.inbox import terminal_line
from services.notifier.domain import outside_text
from services.notifier.domain.message import Message

LINES_PER_SECOND: Final = 5
NAME_CHARS_MAX: Final = 60


class Feed:
    """Prints up to `LINES_PER_SECOND`, and once a second the number of lines left out.

    It prints names of people, so it must only go to a terminal, never to a log.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._left = LINES_PER_SECOND
        self._more = {"leads": 0, "pages": 0}

    def page(self, message: Message) -> None:
        """Print a page to the inbox."""
        if self._has_room("pages"):
            self._console.print(terminal_line(message))

    def heard(self, rows: Sequence[tuple[str, Record]], resources: Resources) -> None:
        """Print records that were just committed. It runs on the event loop, so it decodes a record only to print it."""
        for topic, record in rows:
            if topic != topics.ROUTES or (
                b'"type":"lead.assigned"' not in record.body and b'"type":"lead.queued"' not in record.body
            ):
                continue
            if not self._has_room("leads"):
                continue
            event = record.event
            if isinstance(event, LeadAssigned):
                rep = resources.config.current.team.rep_by_id.get(event.rep)
                lead = outside_text.clean(
                    ", ".join(p for p in (event.card.name, event.card.company) if p), NAME_CHARS_MAX
                )
                self._line(f"{event.at:%H:%M:%S}", lead or "a lead", f"-> {rep.name if rep else event.rep}", event.rule)
            elif isinstance(event, LeadQueued):
                self._line(f"{event.at:%H:%M:%S}", "a lead waits", event.pool or "for a rule that fits", event.reason)

    async def run(self) -> None:
        """Print once a second how many lines were left out."""
        while True:
            await asyncio.sleep(1.0)
            more = ", ".join(
                f"{count} more {name if count > 1 else name[:-1]}" for name, count in self._more.items() if count
            )
            if more:
                self._console.print(Text(f"          and {more}", style="dim"))
            self._left = LINES_PER_SECOND
            self._more = dict.fromkeys(self._more, 0)

    def _has_room(self, name: str) -> bool:
        if self._left > 0:
            self._left -= 1
            return True
        self._more[name] += 1
        return False

    def _line(self, at: str, lead: str, destination: str, reason: str | None) -> None:
        line = Text.assemble((f"{at}  ", "dim"), lead, "  ", (destination, "bold"), no_wrap=True, overflow="ellipsis")
        if reason:
            line.append(f"  {outside_text.clean(reason, NAME_CHARS_MAX)}", "dim")
        self._console.print(line)
