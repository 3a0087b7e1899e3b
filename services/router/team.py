"""The pools and reps of one unit: locked at the first use, changed in memory, stored with the leads.

Every change of open load, availability and turns is made here, so that freed capacity marks the queue as stale.
"""

from functools import cached_property

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.availability import PresenceChange, apply_observation, apply_statement
from services.router.domain.rules import rules_of
from services.router.domain.team_state import Presence, RepState, RotationState, TeamState
from services.router.queue import QUEUE_TICK, WaitingLeads
from services.router.store.team import lock_team_state, open_leads_of
from services.router.store.waiting import pools_waited_for

TEAM_TICK = "router.team"
TEAM = "router.team_state"
"""The name under which units remember the pools and reps. Each change of them is stored by `RoutingSession.save`."""


class LockedTeam:
    """The pools and reps of one unit, and their changes."""

    def __init__(self, unit: Unit, queue: WaitingLeads) -> None:
        self.unit = unit
        self.queue = queue
        self._changed_pools: set[str] = set()
        self._changed_reps: set[str] = set()

    @cached_property
    def state(self) -> TeamState:
        """The pools and reps, locked at the first use, after every lead."""
        rules, connection = rules_of(self.unit.config), self.unit.connection
        team = rules.team
        state: TeamState | None = self.unit.recall(TEAM)
        if state is not None and state.covers(team.pool_by_id, team.rep_by_id):
            pools = pools_waited_for(connection, team.pool_by_id)
        else:
            state, pools = lock_team_state(connection, team.pool_by_id, team.rep_by_id)
            self.unit.remember(TEAM, state)
        state.of_source = open_leads_of(connection, rules.shares) if rules.shares else {}
        self.queue.refresh(pools, connection)
        return state

    @cached_property
    def at(self) -> int:
        """The time of the unit (microseconds). It is read after leads are locked."""
        return micros(self.unit.now)

    @property
    def changed_rotations(self) -> dict[str, RotationState]:
        """The rotation of each pool in which a member took a turn."""
        return {pool: self.state.pools[pool] for pool in self._changed_pools}

    @property
    def changed_presences(self) -> dict[str, Presence]:
        """The presence of each rep whose load or availability changed."""
        return {rep: self.state.reps[rep] for rep in self._changed_reps}

    def set_rotation(self, pool: str, rotation: RotationState) -> None:
        """Set the rotation of a pool after a turn."""
        self.state.pools[pool] = rotation
        self._changed_pools.add(pool)

    def move_load(self, before: str | None, after: str | None, source: str | None = None) -> None:
        """Count a lead of this source as open load of `after` instead of `before`. None: it is no open load."""
        if before == after:
            return
        of_source = self.state.of_source.get(source or "")
        if of_source is not None:
            of_source.update({rep: number for rep, number in ((before, -1), (after, 1)) if rep is not None})
        if after is not None:
            self._loaded(after).open += 1
        if before is not None:
            self._loaded(before).open -= 1
            self._free_capacity()

    def state_availability(self, rep: str, state: RepState, until: int | None, reason: str | None = None) -> Presence:
        """Set and publish the availability that a command states. A tick routes the leads of a deactivated rep again."""
        change = apply_statement(rep, self.state.presence(rep), self.at, state, until, reason)
        if change is not None:
            self._change_presence(rep, change)
            if state == "deactivated":
                self.unit.wake(TEAM_TICK)
        return self.state.presence(rep)

    def observe_availability(self, rep: str, state: RepState) -> None:
        """Set and publish a state that follows from the team file or from the time."""
        change = apply_observation(rep, self.state.presence(rep), self.at, state)
        if change is not None:
            self._change_presence(rep, change)

    def _change_presence(self, rep: str, change: PresenceChange) -> None:
        self.state.reps[rep] = change.presence
        self._changed_reps.add(rep)
        self.unit.emit(change.event, key=rep)
        if change.event.state == "available":
            self._free_capacity()

    def _loaded(self, rep: str) -> Presence:
        self._changed_reps.add(rep)
        presence = self.state.presence(rep)
        presence.updated_at = self.at
        return presence

    def _free_capacity(self) -> None:
        """Note that a rep has more capacity than before."""
        self.queue.stale = True
        self.unit.wake(QUEUE_TICK)
