"""What time brings: waiting leads get the room that appears, and leads of people who are gone get somebody else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.actions import take_away
from services.router.domain.availability import state_of
from services.router.domain.eligibility import with_room
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import RepState
from services.router.queue import SERVED_MAX, WaitingLeads, peek_queue
from services.router.session import RoutingSession
from services.router.store.leads import FIRST_HELD, Holding, held_by
from services.router.store.team import presences
from services.router.store.waiting import FIRST, Place, pools_waited_for, waiting

TAKEN_AWAY_MAX = 50
"""How many leads of people who are gone one unit routes anew."""


@dataclass
class ServeQueue:
    """Serves the queue, `SERVED_MAX` leads a unit. First who waits for a pool with room. When none of those got an owner,
    also the others, in rounds: another agreement, or an account's owner who is back, may have a place for them.

    A round among the first begins anew when a rep gets room, since leads that it has passed may be able to use it. Where
    it stands in each round is kept in memory alone: a restart begins at the head.
    """

    roomy: Place = FIRST
    anywhere: Place = FIRST
    room: Collection[str] = ()  # the reps who had room left after the last unit

    def __call__(self, unit: Unit) -> datetime | None:
        """Now, when there may be more to do at once."""
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
        found = list(dict.fromkeys([*places, *others]))
        if not found:
            return None
        session = RoutingSession(unit, (), WaitingLeads(pools, pools, found))
        served = session.serve()
        self.room = with_room(rules, session.team_state.reps, now)
        session.save()
        return unit.now if goes_on or (served and len(found) == SERVED_MAX) else None


@dataclass
class WatchTeam:
    """Tells which reps came, went or are gone, and routes anew the open leads of those gone, `TAKEN_AWAY_MAX` a unit.

    Each round examines every such lead once. Where it stands is kept in memory alone: a restart begins a new round.
    """

    reached: Holding = FIRST_HELD

    def __call__(self, unit: Unit) -> datetime | None:
        """Now, when the round is not at its end."""
        rules = rules_of(unit.config)
        reps = presences(unit.connection)
        at = micros(unit.clock.business())
        now = {rep: state_of(rules, reps, rep, at) for rep in {*rules.team.rep_by_id, *reps}}
        changed = sorted(rep for rep, state in now.items() if state != (reps[rep].said if rep in reps else "available"))
        gone = [rep for rep, state in now.items() if state == "deactivated" and rep in reps and reps[rep].open > 0]
        held = held_by(unit.connection, gone, self.reached, TAKEN_AWAY_MAX) if gone else []
        goes_on = len(held) == TAKEN_AWAY_MAX
        if changed or held:
            _watch(unit, rules, {rep: now[rep] for rep in changed}, held)
        self.reached = held[-1] if goes_on else FIRST_HELD
        return unit.now if goes_on else None


def _watch(unit: Unit, rules: RoutingRules, changed: Mapping[str, RepState], held: Sequence[Holding]) -> None:
    left = [lead for _, lead in held]
    session = RoutingSession(unit, left, peek_queue(unit, rules) if left else None)
    for rep, state in changed.items():
        session.observe_availability(rep, state)
    for rep, lead in held:
        if session.leads[lead].owner == rep:
            session.apply(take_away(session.leads[lead], rules, session.at))
    session.save()
