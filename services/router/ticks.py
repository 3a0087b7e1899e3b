"""Ticks of the router: assign waiting leads when capacity is free, and route the leads of deactivated reps again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.availability import state_of
from services.router.domain.eligibility import reps_with_capacity
from services.router.domain.ownership import reroute
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import Presence, RepState
from services.router.queue import SERVED_MAX, WaitingLeads, peek_queue
from services.router.session import RoutingSession
from services.router.store.leads import FIRST_HOLDING, Holding, held_by
from services.router.store.team import presences
from services.router.store.waiting import FIRST, Place, pools_waited_for, waiting

REROUTED_MAX = 50
"""The most leads of deactivated reps that a unit routes again."""


@dataclass
class ServeQueue:
    """Serve the queue, at most `SERVED_MAX` leads per unit.

    Leads that wait for a pool with capacity come first. The other leads follow in rounds: a rule of a new agreement may
    match them, or the owner of an account may be back. The first round starts again when another rep has capacity, because
    leads before its position may use it. Positions are in memory only: after a restart each round starts again.
    """

    position: Place = FIRST  # of the round over pools with capacity
    other_position: Place = FIRST
    reps: Collection[str] = ()  # with capacity after the last unit

    def __call__(self, unit: Unit) -> datetime | None:
        """Serve once. Return the time of the next run. None: no more leads can be served now."""
        rules = rules_of(unit.config)
        waiting_pools = pools_waited_for(unit.connection, rules.team.pool_by_id)
        now = micros(unit.clock.business())  # not `unit.now`: nothing is locked yet
        reps = reps_with_capacity(rules, presences(unit.connection), now) if waiting_pools else set()
        if not reps.issubset(self.reps):
            self.position = FIRST
        pools = rules.pools_served_by(reps, waiting_pools)
        places = waiting(unit.connection, pools, self.position, SERVED_MAX) if pools else []
        has_more = len(places) == SERVED_MAX
        self.position = places[-1] if has_more else FIRST
        others = waiting(unit.connection, None, self.other_position, SERVED_MAX - len(places)) if not has_more else []
        if not has_more:
            self.other_position = others[-1] if len(others) == SERVED_MAX - len(places) else FIRST
        all_places = list(dict.fromkeys([*places, *others]))
        if not all_places:
            return None
        session = RoutingSession(unit, (), WaitingLeads(pools, pools, all_places))
        count = session.serve()
        self.reps = reps_with_capacity(rules, session.team.state.reps, now)
        session.save()
        return unit.now if has_more or (count and len(all_places) == SERVED_MAX) else None


@dataclass
class WatchTeam:
    """Publish changes of availability by the team file or by time, and route open leads of deactivated reps again.

    A unit routes at most `REROUTED_MAX` leads. A round examines each such lead once. The position is in memory only: after
    a restart a new round starts.
    """

    position: Holding = FIRST_HOLDING

    def __call__(self, unit: Unit) -> datetime | None:
        """Run once. Return the time of the next run. None: the round has ended."""
        rules = rules_of(unit.config)
        reps = presences(unit.connection)
        now = micros(unit.clock.business())
        states = {rep: state_of(rules, reps, rep, now) for rep in {*rules.team.rep_by_id, *reps}}
        changes = {rep: state for rep, state in sorted(states.items()) if state != _published_state(reps, rep)}
        leavers = [
            rep for rep, state in states.items() if state == "deactivated" and rep in reps and reps[rep].open > 0
        ]
        holdings = held_by(unit.connection, leavers, self.position, REROUTED_MAX) if leavers else []
        has_more = len(holdings) == REROUTED_MAX
        if changes or holdings:
            _apply(unit, rules, changes, holdings)
        self.position = holdings[-1] if has_more else FIRST_HOLDING
        return unit.now if has_more else None


def _published_state(reps: Mapping[str, Presence], rep: str) -> RepState:
    return reps[rep].published_state if rep in reps else "available"


def _apply(unit: Unit, rules: RoutingRules, changes: Mapping[str, RepState], holdings: Sequence[Holding]) -> None:
    leads = [lead for _, lead in holdings]
    session = RoutingSession(unit, leads, peek_queue(unit, rules) if leads else None)
    for rep, state in changes.items():
        session.team.observe_availability(rep, state)
    for rep, lead in holdings:
        if session.leads[lead].owner == rep:
            session.apply(reroute(session.leads[lead], rules, session.at))
    session.save()
