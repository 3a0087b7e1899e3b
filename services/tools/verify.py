"""The invariants I1 to I10 as questions to one snapshot of the database, each answered with the rows that break it.

What is still on its way is not judged: leads of which a record waits to be read, and leads whose record is a dead
letter. On a live system those are left out too that changed since the asking began (`since`). Rows are named by their
ids alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from services.runtime.clock import Clock
from services.tools.verify_case import Case
from services.tools.verify_records import moves_are_allowed, room_was_there
from services.tools.verify_rows import (
    clocks_live,
    decisions_hold,
    effects_are_single,
    events_are_kept,
    loads_add_up,
    nobody_told_after_a_touch,
    owners_are_single,
    pages_arrive,
    rungs_fire_once,
)

ROWS_NAMED_MAX: Final = 10


@dataclass(frozen=True)
class Finding:
    """One invariant, and how many rows break it; `rows` names the first ten."""

    invariant: str
    holds: str
    broken: int = 0
    rows: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.broken == 0


Check = Callable[[Case], Iterable[str]]

INVARIANTS: Final[tuple[tuple[str, str, tuple[Check, ...]], ...]] = (
    (
        "I1",
        "every accepted event is kept, and its lead owned, queued with a reason, with Marketing, or at an end",
        (events_are_kept,),
    ),
    ("I2", "an event takes effect once", (effects_are_single,)),
    ("I3", "at most one open assignment per lead; epochs are 1..n and do not overlap", (owners_are_single,)),
    ("I4", "a handed-over lead that nobody touched has one live clock", (clocks_live,)),
    ("I5", "a rung fires at most once, never early, never for an assignment that does not exist", (rungs_fire_once,)),
    ("I6", "a page is delivered, or ends as failed with every channel tried", (pages_arrive,)),
    ("I7", "no page is claimed after the touch or the opt-out is stored", (nobody_told_after_a_touch,)),
    ("I8", "open load is what is owned, and nobody was given more than their capacity", (loads_add_up, room_was_there)),
    ("I9", "a status changes only along a transition of the agreement, by whom it names", (moves_are_allowed,)),
    ("I10", "a decision replayed from its inputs gives the same rep", (decisions_hold,)),
)


def run(
    connection: Connection,
    clock: Clock,
    *,
    since: datetime | None = None,
    alive_since: datetime | None = None,
    heard: bool = True,
) -> list[Finding]:
    """One finding per invariant, in order. `since` (business time): leads changed from then on are left out.
    `alive_since` (real time): a process has been delivering pages since then, so overdue ones count. `heard`: what was
    said before `since` has been read by all; otherwise, past one machine, leads are left out of which one service knows
    more than another.
    """
    case = Case(connection, clock, since, alive_since, heard)
    return [_judged(case, *invariant) for invariant in INVARIANTS]


def _judged(case: Case, invariant: str, holds: str, checks: tuple[Check, ...]) -> Finding:
    rows = [row for check in checks for row in check(case)]
    return Finding(invariant, holds, len(rows), tuple(rows[:ROWS_NAMED_MAX]))
