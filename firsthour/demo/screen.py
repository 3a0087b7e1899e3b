"""The screen of the demo: events, load of each rep, and clocks about to run out, within 80 columns and 24 lines."""

import statistics
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firsthour.demo.people import HOUR, ODDS
from firsthour.demo.story import DemoStory, Tally
from schemas.team import Rep
from services.notifier.domain.outside_text import clean

CHARS_MAX: Final = 120
REDRAWN_PER_SECOND: Final = 5
_SIDE_COLUMNS: Final = 34
_BAR: Final = 6
_SIDES: Final[tuple[JustifyMethod, ...]] = ("left", "left", "right", "right")


class Screen:
    """Feed, reps and clocks on a terminal; plain lines anywhere else."""

    def __init__(self, console: Console, reps: Sequence[Rep], speed: float, link: str = "") -> None:
        self.console = console
        self._reps, self._speed, self._link = reps, speed, link
        self._lines: deque[Text] = deque(maxlen=200)
        self._live: Live | None = None
        self.story: DemoStory | None = None

    def say(self, at: datetime, style: str, words: str) -> None:
        """Show a line of the feed. `words`: the text; `style`: its colour."""
        line = Text.assemble(
            (f"{at:%H:%M} ", "dim"), (clean(words, CHARS_MAX), style), no_wrap=True, overflow="ellipsis"
        )
        self._lines.append(line)
        if self._live is None:
            self.console.print(line, soft_wrap=True)

    def start(self, now: datetime) -> None:
        """Use the whole terminal, if there is one."""
        if self.console.is_terminal:
            self._live = Live(self._drawn(now), console=self.console, screen=True, auto_refresh=False)
            self._live.start()

    def draw(self, now: datetime) -> None:
        """Show the state of this moment."""
        if self._live is not None:
            self._live.update(self._drawn(now), refresh=True)

    def stop(self) -> None:
        """Restore the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _drawn(self, now: datetime) -> Layout:
        story = self.story
        handed_over = len(story.leads) if story else 0
        whole, body, side = Layout(), Layout(name="body"), Layout(name="side", size=_SIDE_COLUMNS)
        head = Text.assemble(
            (" FirstHour ", "bold reverse"),
            f"  {now:%H:%M} UTC, {self._speed:g} times faster, {handed_over} handed over  ",
            ("made up; Ctrl-C ends", "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )
        foot = Layout(Text.assemble(("To watch in the console, once:\n", "dim"), self._link, overflow="fold"), size=2)
        lines = max(3, self.console.height - 4 - (2 if self._link else 0))
        feed = Panel(Group(*list(self._lines)[-lines:]), title="Events", title_align="left", border_style="dim")
        whole.split_column(Layout(head, size=1), body, *([foot] if self._link else []))
        body.split_row(Layout(feed), side)
        side.split_column(Layout(self._team(), size=len(self._reps) + 3), Layout(self._clocks(now)))
        return whole

    def _team(self) -> RenderableType:
        table = Table.grid(padding=(0, 1), expand=True)
        for justify in _SIDES:
            table.add_column(justify=justify, no_wrap=True)
        table.add_row(Text("rep", "dim"), Text("open", "dim"), Text("called", "dim"), Text("median", "dim"))
        for rep in self._reps:
            open_, calls = (self.story.open_load(rep.id), self.story.minutes_of(rep.id)) if self.story else (0, [])
            median = f"{statistics.median(calls):.0f} min" if calls else ""
            table.add_row(rep.name.split()[0], _bar(open_, rep.capacity.open), str(len(calls) or ""), median)
        return Panel(table, title="Reps", title_align="left", border_style="dim")

    def _clocks(self, now: datetime) -> RenderableType:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, ratio=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        running = self.story.running(now) if self.story else []
        for lead in running[:10]:
            left = int((lead.submit_at + HOUR - now) / timedelta(minutes=1))
            style = "bold red" if left < 15 else "yellow" if left < 30 else "green"
            owner = self.story.name(lead.owner) if self.story and lead.owner else "(waits)"
            table.add_row(Text(clean(lead.title, 40)), Text(owner, "dim"), Text(f"{left} min", style))
        return Panel(table, title=f"Clocks running: {len(running)}", title_align="left", border_style="dim")


def _bar(open_: int, capacity: int | None) -> Text:
    if capacity is None:
        return Text(str(open_) if open_ else "")
    full = min(_BAR, open_)
    style = "red" if open_ >= capacity else "green"
    return Text.assemble(("■" * full, style), ("□" * (min(_BAR, capacity) - full), "dim"))


# --- the end ----------------------------------------------------------------------------------------------------------


def table_of(tally: Tally) -> Table:
    """Return the table of the first hour: the outcomes, and the expected ones if all leads were called at another time."""
    table = Table(title="The first hour (all of it made up)", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    median = "no calls" if tally.median_minutes is None else f"{tally.median_minutes:.0f} min"
    for title, value in (
        ("Leads handed over to Sales", str(tally.leads)),
        ("  touched within the hour", str(tally.touched)),
        ("  missed: later, or never", str(tally.missed)),
        ("  waiting, the hour not over", str(tally.waiting)),
        ("Median time to the first touch", median),
        ("Reassigned because the owner did not answer", str(tally.reassigned)),
        ("Returned to Marketing before the first call", str(tally.returned)),
    ):
        table.add_row(title, value)
    table.add_section()
    for when, (decided, won) in tally.outcomes.items():
        table.add_row(f"Touched {when}: qualified, of the decided ones", f"{won} of {decided}")
    table.add_section()
    for when, _, share in ODDS:
        table.add_row(f"Expected, if all {tally.leads} were called {when}", f"{tally.leads * share:.0f}")
    return table


def footnote() -> str:
    """Return the odds of the outcomes."""
    odds = ", ".join(f"{share:.1%} {when}" for when, _, share in ODDS)
    return (
        f"Outcomes follow the odds published about web leads: more than 6 times worse after the first hour, more than "
        f"100 times after a working day. Here: {odds}."
    )
