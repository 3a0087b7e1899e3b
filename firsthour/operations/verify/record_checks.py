"""What `verify` asks of the records the router made, beyond one lead's chain: whether each move is one of an agreement,
and whether there was room at each hand-over. Hand-overs of all leads are put in order on disk, not in memory.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import cached_property
from typing import Final

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import UNDER_WAY, Snapshot
from schemas.agreement.lifecycle import Lifecycle, Transition
from schemas.events.routes import LeadAssigned, LeadEvent
from services.router.domain.lead import HELD
from services.router.domain.ownership import BY_HAND, TO_MANAGER

SYSTEM: Final = "system"
NOT_CHOSEN_BY_US: Final = frozenset({BY_HAND, TO_MANAGER})
"""Rules under which capacity is not asked."""
_TAKEN_UP_LATE_US: Final = 5_000_000
"""A configuration is in force for a moment before it is stored that it is (real time)."""
_WAITED: Final = timedelta(seconds=15)
"""How long a unit may wait for pools and reps after it read its clock, one lock after the other."""
_LOST: Final = "SELECT 1 FROM dead_letters WHERE consumer = 'reporting' AND state <> 'retried' LIMIT 1"

Allowed = Callable[[LeadEvent], bool]


# --- I9 ----------------------------------------------------------------------------------------------------------


def allowed(case: Snapshot) -> Allowed:
    """Whether a move is one of an agreement that was in force by then. An agreement that came back into force keeps its
    first date, so any earlier one will do. The oldest counts from the beginning, since the clock may have been set back
    after it was taken up; for a moment that the clock went through twice, any date will do."""
    late = round(_TAKEN_UP_LATE_US * case.speed)
    dated = [(one.since if n else 0, one.agreement.lifecycle) for n, one in enumerate(case.configurations)]
    known: dict[tuple[str, str, bool], int | None] = {}  # since when (microseconds) there is such a way

    def check(event: LeadEvent) -> bool:
        asked = (event.was, event.status, event.by == SYSTEM)
        if asked not in known:
            known[asked] = min((since for since, lifecycle in dated if _has(lifecycle, *asked)), default=None)
        since_us, at = known[asked], micros(event.at)
        return since_us is not None and (since_us <= at + late or case.gone_twice(at))

    return check


def _has(lifecycle: Lifecycle, was: str, status: str, system: bool) -> bool:
    return any(way.leaves(was) and way.to == status and _names(way, system) for way in lifecycle.transitions)


def _names(way: Transition, system: bool) -> bool:
    """Whether the transition is for the system, or for people. Which people, a record alone does not tell."""
    return "anyone" in way.by or any((actor == SYSTEM) is system for actor in way.by)


# --- I8 ----------------------------------------------------------------------------------------------------------

_TABLE: Final = 'CREATE TABLE shifts (place, rep, more, "limit", lead, epoch, at)'
_ADD: Final = "INSERT INTO shifts VALUES (?, ?, ?, ?, ?, ?, ?)"
_IN_ORDER: Final = 'SELECT place, rep, more, "limit", lead, epoch, at FROM shifts ORDER BY place, rowid'

Shift = tuple[int, str, int, int | None, str, int, int]
"""A rep has one open lead more or less: place in the order, rep, +1 or -1, the capacity where a rule gave the lead
(else None), lead, epoch, moment (business microseconds)."""


class CapacityCheck:
    """I8, as it was at each hand-over by rule: the open load after it, against the capacity of the team then in force.

    Not judged where a record of the history is a dead letter or has not been read, since loads cannot be added up then.
    """

    def __init__(self, case: Snapshot) -> None:
        self._case = case
        self._silent = bool(case.ask(_LOST)) or not case.whole
        self._shifts = sqlite3.connect("")  # SQLite keeps a database without a name in a temporary file
        self._shifts.execute(_TABLE)

    def take(self, rows: LeadRows) -> None:
        """Note what the records of one lead say of open load."""
        if not self._silent and not rows.partial:
            decided_by = {row.id: row.agreement for row in rows.decisions}
            self._shifts.executemany(_ADD, self._of(rows, decided_by))

    def faults(self) -> Iterator[str]:
        """The hand-overs beyond capacity, once every lead was taken."""
        with closing(self._shifts):
            load: Counter[str] = Counter()
            case = self._case
            until = None if case.since is None else micros(case.since - UNDER_WAY - _WAITED)
            for _, rep, more, limit, lead, epoch, at in self._shifts.execute(_IN_ORDER):
                load[rep] += more
                if limit is None or (case.distributed and until is not None and at > until):
                    continue
                if load[rep] > limit:
                    yield (
                        f"lead {lead}: assignment {epoch} gave {rep} {load[rep]} open leads, the capacity is {limit}"
                    )

    @cached_property
    def _capacities(self) -> dict[str, dict[str, int | None]]:
        known = self._case.configurations
        return {one.version: {rep.id: rep.capacity.open for rep in one.team.reps} for one in known}

    def _of(self, rows: LeadRows, decided_by: dict[str, str]) -> Iterator[Shift]:
        """Embedded, in the order of the records. Past one machine, units of several leads wait for one rep, and records
        tell when each began to wait, not who went first: what makes room counts as early as it may have been, what takes
        some without asking as late."""
        shared = self._case.distributed
        waited = _WAITED // timedelta(microseconds=1) if shared else 0
        holder: tuple[str, int] | None = None  # while the lead counts as open load: of whom, and from when on
        place = 0
        for _, position, event in rows.told.moves:
            place = max(place, position)  # a record that was heard from a dead letter has no position
            held, at = event.status in HELD, micros(event.at)
            if held and holder is not None and not isinstance(event, LeadAssigned):
                continue
            if holder is not None:
                at_left = max(holder[1], at - waited)
                yield (at_left if shared else place, holder[0], -1, None, rows.id, event.epoch, at_left)
                holder = None
            if held and isinstance(event, LeadAssigned):
                by_rule = event.rule not in NOT_CHOSEN_BY_US
                at += 0 if by_rule else waited
                limit = self._capacities.get(decided_by.get(event.decision_id, ""), {}).get(event.rep)
                yield (
                    at if shared else place, event.rep, 1, limit if by_rule else None, rows.id, event.epoch, at
                )  # fmt: skip
                holder = event.rep, at
