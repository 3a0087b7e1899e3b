"""Ticks of the router: assign waiting leads when capacity is free, and route the leads of deactivated reps again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.availability import state_of
from services.router.domain.eligibility import with_room
from services.router.domain.ownership import take_away
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import RepState
from services.router.queue import SERVED_MAX, WaitingLeads, peek_queue
from services.router.session import RoutingSession
from services.router.store.leads import FIRST_HELD, Holding, held_by
from services.router.store.team import presences
from services.router.store.waiting import FIRST, Place, pools_waited_for, waiting

TAKEN_AWAY_MAX = 50
"""How many leads of deactivated reps a unit routes again."""


@dataclass
class ServeQueue:
    """Serve the queue, at most `SERVED_MAX` leads a unit.

    Leads that wait for a pool with capacity come first. The other leads follow in rounds: a new agreement, or the owner
    of an account who is back, may take them. The round over the first begins again when a rep gets capacity, because the
    leads already passed may use it. The positions are in memory only: a restart begins at the head of the queue.
    """

    roomy: Place = FIRST
    anywhere: Place = FIRST
    room: Collection[str] = ()  # the reps with capacity after the last unit

    def __call__(self, unit: Unit) -> datetime | None:
        """Serve once. Return the time of the next run if more leads may be served at once."""
        rules = rules_of(unit.config)
        waited_for = pools_waited_for(unit.connection, rules.team.pool_by_id)
        now = micros(unit.clock.business())  # not `unit.now`: nothing is locked yet
        room = with_room(rules, presences(unit.connection), now) if waited_for else set()
        if not room.issubset(self.room):
            self.roomy = FIRST
        pools = rules.reaching(room, waited_for)
        places = waiting(unit.connection, pools, self.roomy, SERVED_MAX) if pools else []
        goes_on = len(places) == SERVED_MAX
        self.roomy = places[-1] if goes_on else FIRST
        others = waiting(unit.connection, None, self.anywhere, SERVED_MAX - len(places)) if not goes_on else []
        if not goes_on:
            self.anywhere = others[-1] if len(others) == SERVED_MAX - len(places) else FIRST
        in_order = list(dict.fromkeys([*places, *others]))
        if not in_order:
            return None
        session = RoutingSession(unit, (), WaitingLeads(pools, pools, in_order))
        served = session.serve()
        self.room = with_room(rules, session.team.state.reps, now)
        session.save()
        return unit.now if goes_on or (served and len(in_order) == SERVED_MAX) else None


@dataclass
class WatchTeam:
    """Publish changes of availability that follow from the team file or from the time, and route the open leads of
    deactivated reps again, `TAKEN_AWAY_MAX` a unit.

    A round examines each such lead once. The position is in memory only: a restart begins a new round.
    """

    reached: Holding = FIRST_HELD

    def __call__(self, unit: Unit) -> datetime | None:
        """Run once. Return the time of the next run if the round has not ended."""
        rules = rules_of(unit.config)
        reps = presences(unit.connection)
        at = micros(unit.clock.business())
        now = {rep: state_of(rules, reps, rep, at) for rep in {*rules.team.rep_by_id, *reps}}
        changed = sorted(rep for rep, state in now.items() if state != (reps[rep].said if rep in reps else "available"))
        gone = [rep for rep, state in now.items() if state == "deactivated" and rep in reps and reps[rep].open > 0]
        held = held_by(unit.connection, gone, self.reached, TAKEN_AWAY_MAX) if gone else []
        goes_on = len(held) == TAKEN_AWAY_MAX
        if changed or held:
            _apply(unit, rules, {rep: now[rep] for rep in changed}, held)
        self.reached = held[-1] if goes_on else FIRST_HELD
        return unit.now if goes_on else None


def _apply(unit: Unit, rules: RoutingRules, changed: Mapping[str, RepState], held: Sequence[Holding]) -> None:
    left = [lead for _, lead in held]
    session = RoutingSession(unit, left, peek_queue(unit, rules) if left else None)
    for rep, state in changed.items():
        session.team.observe_availability(rep, state)
    for rep, lead in held:
        if session.leads[lead].owner == rep:
            session.apply(take_away(session.leads[lead], rules, session.at))
    session.save()
