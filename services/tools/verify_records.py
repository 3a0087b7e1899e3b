"""What `verify` asks of the records the router made, told again in their order: each move, and each lead given out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from operator import itemgetter
from typing import Final, NamedTuple

from schemas.agreement import Lifecycle, Transition
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events import LeadAssigned, Routed
from services.router.acts import BY_HAND, TO_MANAGER
from services.router.domain.lead import HELD
from services.runtime.clock import micros
from services.tools.verify_case import UNDER_WAY, Case

SYSTEM: Final = "system"
NOT_CHOSEN_BY_US: Final = frozenset({BY_HAND, TO_MANAGER})
"""Rules under which capacity is not asked."""
_TAKEN_UP_LATE_US: Final = 5_000_000
"""A configuration is in force for a moment before it is stored that it is (real time)."""
_WAITED: Final = timedelta(seconds=15)
"""How long a unit may wait for pools and reps after it read its clock, one lock after the other."""
_TOLD: Final = """
    SELECT id, body FROM reporting_history WHERE topic = 'routes' AND lead_id IS NOT NULL
      AND type <> 'action.answered' ORDER BY position"""
_STANDS: Final = "SELECT lead_id, status, version FROM router_leads ORDER BY lead_id"
_DECIDED_BY: Final = "SELECT id, agreement FROM router_decisions"
_LOST: Final = "SELECT 1 FROM dead_letters WHERE consumer = 'reporting' AND state <> 'retried' LIMIT 1"


def _records(case: Case) -> Iterator[tuple[str, Routed]]:
    for row in case.stream(_TOLD):
        try:
            event = event_of(decode(bytes(row.body)))
        except UnknownEventError:  # written by a later version
            continue
        if isinstance(event, Routed):
            yield row.id, event


# --- I9 ----------------------------------------------------------------------------------------------------------


def moves_are_allowed(case: Case) -> Iterator[str]:
    """I9. Also that the moves join: each begins where the one before ended, and the lead stands where the last did."""
    allowed, last = _allowed(case), dict[str, Routed]()
    for id, event in _records(case):
        before = last.get(event.lead_id)
        last[event.lead_id] = event
        if before is not None and event.version == before.version + 1 and event.was != before.status:
            yield f"record {id}: lead {event.lead_id} was {event.was}, after it had become {before.status}"
        if event.status != event.was and not allowed(event):
            yield f"record {id}: lead {event.lead_id} went from {event.was} to {event.status} by {event.by}"
    for row in case.settled(case.ask(_STANDS)):
        known = last.get(row.lead_id)
        if known is not None and known.version == row.version and known.status != row.status:
            yield f"lead {row.lead_id}: stands as {row.status}, its last record says {known.status}"


def _allowed(case: Case) -> Callable[[Routed], bool]:
    """Whether a move is one of an agreement that was in force by then. An agreement that came back into force keeps its
    first date, so any earlier one will do."""
    late = round(_TAKEN_UP_LATE_US * case.speed)
    known: dict[tuple[str, str, bool], int | None] = {}  # since when (microseconds) there is such a way

    def check(event: Routed) -> bool:
        asked = (event.was, event.status, event.by == SYSTEM)
        if asked not in known:
            since = [one.since for one in case.configurations if _has(one.agreement.lifecycle, *asked)]
            known[asked] = min(since, default=None)
        since_us = known[asked]
        return since_us is not None and since_us <= micros(event.at) + late

    return check


def _has(lifecycle: Lifecycle, was: str, status: str, system: bool) -> bool:
    return any(way.leaves(was) and way.to == status and _names(way, system) for way in lifecycle.transitions)


def _names(way: Transition, system: bool) -> bool:
    """Whether the transition is for the system, or for people. Which people, a record alone does not tell."""
    return "anyone" in way.by or any((actor == SYSTEM) is system for actor in way.by)


# --- I8 ----------------------------------------------------------------------------------------------------------


class Shift(NamedTuple):
    """A rep has one open lead more or less, in the order of `at` (business microseconds)."""

    at: int
    rep: str
    more: int
    by_rule: LeadAssigned | None = None  # what gave it, where we chose


def room_was_there(case: Case) -> Iterator[str]:
    """I8, as it was at each hand-over by rule: the open load after it, against the capacity of the team then in force.

    Not told where a record of the history is a dead letter or has not been read, since loads cannot be added up then.
    """
    if case.ask(_LOST) or (case.distributed and not case.heard):
        return
    capacities = {one.version: {rep.id: rep.capacity.open for rep in one.team.reps} for one in case.configurations}
    decided_by = {row.id: row.agreement for row in case.stream(_DECIDED_BY)}
    until = None if case.since is None else micros(case.since - UNDER_WAY - _WAITED)
    load: Counter[str] = Counter()
    for at, rep, more, event in _in_order(case):
        load[rep] += more
        if event is None or (case.distributed and until is not None and at > until):
            continue
        limit = capacities.get(decided_by.get(event.decision_id, ""), {}).get(rep)
        if limit is not None and load[rep] > limit:
            yield (
                f"lead {event.lead_id}: assignment {event.epoch} gave {rep} "
                f"{load[rep]} open leads, the capacity is {limit}"
            )


def _in_order(case: Case) -> Iterable[Shift]:
    """Embedded, as the records stand. Past one machine, units of several leads wait for one rep, and records tell when
    each began to wait, not who went first: what makes room counts as early as it may have been, what takes some without
    asking as late."""
    if not case.distributed:
        return _shifts(case, 0)
    return sorted(_shifts(case, _WAITED // timedelta(microseconds=1)), key=itemgetter(0))


def _shifts(case: Case, waited: int) -> Iterator[Shift]:
    holders: dict[str, tuple[str, int]] = {}  # of a lead that counts as open load, and from when on
    for _, event in _records(case):
        holder = holders.pop(event.lead_id, None)
        held, at = event.status in HELD, micros(event.at)
        if not isinstance(event, LeadAssigned) and held and holder is not None:
            holders[event.lead_id] = holder
            continue
        if holder is not None:
            yield Shift(max(holder[1], at - waited), holder[0], -1)
        if held and isinstance(event, LeadAssigned):
            by_rule = event.rule not in NOT_CHOSEN_BY_US
            at += 0 if by_rule else waited
            yield Shift(at, event.rep, +1, event if by_rule else None)
            holders[event.lead_id] = event.rep, at
