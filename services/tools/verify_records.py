"""What `verify` asks of the records the router made, told again in their order: each move, and each lead given out."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from schemas.agreement import Lifecycle, Transition
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events import LeadAssigned, Routed
from services.router.acts import BY_HAND, TO_MANAGER
from services.router.domain.lead import HELD
from services.runtime.clock import micros
from services.tools.verify_rows import Case

SYSTEM: Final = "system"
NOT_CHOSEN_BY_US: Final = frozenset({BY_HAND, TO_MANAGER})
"""Rules under which capacity is not asked."""
_TAKEN_UP_LATE_US: Final = 5_000_000
"""A configuration is in force for a moment before it is stored that it is (real time)."""
_TOLD: Final = """
    SELECT id, body FROM reporting_history WHERE topic = 'routes' AND lead_id IS NOT NULL
      AND type <> 'action.answered' ORDER BY position"""
_STANDS: Final = "SELECT lead_id, status, version FROM router_leads ORDER BY lead_id"
_DECIDED_BY: Final = "SELECT id, agreement FROM router_decisions"
_LOST: Final = "SELECT 1 FROM dead_letters WHERE consumer = 'reporting' AND state <> 'retried' LIMIT 1"


def _records(case: Case) -> Iterator[tuple[str, Routed]]:
    for row in case.ask(_TOLD):
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


def room_was_there(case: Case) -> Iterator[str]:
    """I8, as it was at each hand-over by rule: the open load after it, against the capacity of the team then in force.

    Not told where a record of the history is a dead letter, since the loads cannot be added up then.
    """
    if case.ask(_LOST):
        return
    capacities = {one.version: {rep.id: rep.capacity.open for rep in one.team.reps} for one in case.configurations}
    decided_by = {row.id: row.agreement for row in case.ask(_DECIDED_BY)}
    load: Counter[str] = Counter()
    holder: dict[str, str] = {}  # of a lead that counts as open load
    for _, event in _records(case):
        before = holder.pop(event.lead_id, None)
        after = event.rep if isinstance(event, LeadAssigned) else before
        if before is not None:
            load[before] -= 1
        if event.status not in HELD or after is None:
            continue
        load[after] += 1
        holder[event.lead_id] = after
        if isinstance(event, LeadAssigned) and event.rule not in NOT_CHOSEN_BY_US:
            limit = capacities.get(decided_by.get(event.decision_id, ""), {}).get(after)
            if limit is not None and load[after] > limit:
                yield (
                    f"lead {event.lead_id}: assignment {event.epoch} gave {after} "
                    f"{load[after]} open leads, the capacity is {limit}"
                )
