"""Checks of the router's records: an agreement allows each status change, and each hand-over respects capacity.

The hand-overs of all leads are sorted on disk, because they may not fit into memory.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import cached_property
from typing import Final, NamedTuple

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import UNIT_DURATION_MAX, Snapshot
from schemas.agreement.lifecycle import Lifecycle, Transition
from schemas.events.routes import LeadAssigned, LeadEvent
from services.router.domain.lead import HELD
from services.router.domain.ownership import BY_HAND, TO_MANAGER

SYSTEM: Final = "system"
WITHOUT_CAPACITY: Final = frozenset({BY_HAND, TO_MANAGER})
"""Rules that do not respect capacity."""
_STORED_LATE_US: Final = 5_000_000
"""How long after a configuration came into force its row may be stored (microseconds of real time)."""
_LOCK_WAIT_MAX: Final = timedelta(seconds=15)
"""How long a unit may wait for the locks of pools and reps after it read its clock."""
_DEAD_LETTER: Final = "SELECT 1 FROM dead_letters WHERE consumer = 'reporting' AND state <> 'retried' LIMIT 1"

Allowed = Callable[[LeadEvent], bool]


# --- I9 ----------------------------------------------------------------------------------------------------------


def allowed_changes(snapshot: Snapshot) -> Allowed:
    """Return a function: does any agreement in force at the time of a record allow the status change of that record?

    An agreement that came back into force keeps its first date, so every earlier agreement counts. The oldest agreement
    counts from the beginning, because the clock may have been set back after it came into force. At an ambiguous time every
    agreement counts.
    """
    slack = round(_STORED_LATE_US * snapshot.speed)
    configs = snapshot.configurations.readable
    lifecycles = [(config.since if n else 0, config.agreement.lifecycle) for n, config in enumerate(configs)]
    first_allowed: dict[tuple[str, str, bool], int | None] = {}  # microseconds; None: never

    def allowed(event: LeadEvent) -> bool:
        change = (event.was, event.status, event.by == SYSTEM)
        if change not in first_allowed:
            dates = (since for since, lifecycle in lifecycles if _has_transition(lifecycle, *change))
            first_allowed[change] = min(dates, default=None)
        since, at = first_allowed[change], micros(event.at)
        return since is not None and (since <= at + slack or snapshot.is_ambiguous(at))

    return allowed


def _has_transition(lifecycle: Lifecycle, was: str, status: str, system: bool) -> bool:
    return any(
        transition.leaves(was) and transition.to == status and _is_for(transition, system)
        for transition in lifecycle.transitions
    )


def _is_for(transition: Transition, system: bool) -> bool:
    """Return whether the system (`system`) or a person of any role (not `system`) may use the transition.

    The role of a person is not checked, because a record does not contain it.
    """
    return "anyone" in transition.by or any((actor == SYSTEM) is system for actor in transition.by)


# --- I8 ----------------------------------------------------------------------------------------------------------

_TABLE: Final = 'CREATE TABLE load_changes (sort_key, rep, change, "limit", lead, epoch, at)'
_INSERT: Final = "INSERT INTO load_changes VALUES (?, ?, ?, ?, ?, ?, ?)"
_IN_ORDER: Final = 'SELECT sort_key, rep, change, "limit", lead, epoch, at FROM load_changes ORDER BY sort_key, rowid'


class LoadChange(NamedTuple):
    """A change of a rep's open leads by one."""

    sort_key: int  # position of the record, or business microseconds in a distributed installation
    rep: str
    change: int  # +1 or -1
    limit: int | None  # the capacity, if a rule assigned the lead
    lead: str
    epoch: int
    at: int  # business microseconds


class CapacityCheck:
    """Check I8: after each hand-over by a rule, the rep's open leads are within the capacity in force.

    The loads are sums over the whole history. If the history is incomplete, nothing is checked.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._skipped = bool(snapshot.ask(_DEAD_LETTER)) or not snapshot.history_complete
        self._changes = sqlite3.connect("")  # SQLite stores a database without a name in a temporary file
        self._changes.execute(_TABLE)

    def add(self, rows: LeadRows) -> None:
        """Add the load changes in the records of one lead."""
        if not self._skipped and not rows.partial:
            self._changes.executemany(_INSERT, self._changes_of(rows))

    def faults(self) -> Iterator[str]:
        """Yield the hand-overs beyond capacity, after all leads are added."""
        with closing(self._changes):
            loads: Counter[str] = Counter()
            snapshot = self._snapshot
            until = None if snapshot.since is None else micros(snapshot.since - UNIT_DURATION_MAX - _LOCK_WAIT_MAX)
            for row in self._changes.execute(_IN_ORDER):
                change = LoadChange(*row)
                loads[change.rep] += change.change
                if change.limit is None or (snapshot.distributed and until is not None and change.at > until):
                    continue
                if loads[change.rep] > change.limit:
                    yield (
                        f"lead {change.lead}: assignment {change.epoch} gave {change.rep} {loads[change.rep]} open "
                        f"leads, the capacity is {change.limit}"
                    )

    @cached_property
    def _capacities(self) -> dict[str, dict[str, int | None]]:
        configs = self._snapshot.configurations.readable
        return {config.version: {rep.id: rep.capacity.open for rep in config.team.reps} for config in configs}

    def _changes_of(self, rows: LeadRows) -> Iterator[LoadChange]:
        """Yield the load changes of one lead.

        Embedded, the changes have the order of the records. In a distributed installation, units of several leads may
        wait for the lock of one rep. A record contains the time before that wait, so it does not tell which unit got the
        lock first. Therefore a decrease counts as early as possible, and an increase without a capacity check as late as
        possible.
        """
        distributed = self._snapshot.distributed
        wait = _LOCK_WAIT_MAX // timedelta(microseconds=1) if distributed else 0
        versions = {row.id: row.agreement for row in rows.decisions}
        holder: tuple[str, int] | None = None  # the rep with the lead in the load, and since when; None: no rep
        position = 0
        for _, record_position, event in rows.records.moves:
            position = max(position, record_position)  # a record read from a dead letter has position 0
            is_open, at = event.status in HELD, micros(event.at)
            if is_open and holder is not None and not isinstance(event, LeadAssigned):
                continue
            if holder is not None:
                end = max(holder[1], at - wait)
                yield LoadChange(end if distributed else position, holder[0], -1, None, rows.id, event.epoch, end)
                holder = None
            if is_open and isinstance(event, LeadAssigned):
                limit = None
                if event.rule in WITHOUT_CAPACITY:
                    at += wait
                else:
                    limit = self._capacities.get(versions.get(event.decision_id, ""), {}).get(event.rep)
                sort_key = at if distributed else position
                yield LoadChange(sort_key, event.rep, 1, limit, rows.id, event.epoch, at)
                holder = event.rep, at
