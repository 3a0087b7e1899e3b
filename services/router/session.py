"""The working memory of one unit: leads, pools and reps loaded once, changed in memory, stored in bulk.

Every change of a lead's status, owner or place in the queue goes through here, so that open load, epochs, the queue
and what is said on `routes` cannot come apart.
"""

from collections.abc import Collection
from functools import cached_property
from typing import Any

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage.unit import Unit
from schemas.events import LeadAssigned, LeadEvent, LeadQueued
from services.router import store
from services.router.domain.decision import Decision, Inputs, decide, gather_inputs
from services.router.domain.event_time import SKEW_US, forget_ahead
from services.router.domain.lead import ASSIGNED, HELD, Lead, at, card
from services.router.domain.lifecycle import SYSTEM, Refused, move
from services.router.domain.rules import rules_of
from services.router.domain.team_state import Presence, TeamState
from services.router.queue import QUEUE_TICK, WaitingLeads
from services.router.store import Assignment, StoredDecision

TEAM_TICK = "router.team"
NO_TURN = "others wait before it"


class RoutingSession:
    """One unit's leads, and what became of them."""

    def __init__(self, unit: Unit, wanted: Collection[str], queue: WaitingLeads | None = None) -> None:
        self.unit = unit
        self.rules = rules_of(unit.config)
        self.queue = queue or WaitingLeads()
        self.leads = store.lock(unit, {*wanted, *self.queue.ids})
        self.now = unit.now
        self.at = micros(self.now)
        for lead in self.leads.values():
            forget_ahead(lead, self.at)
        self.skew_us = SKEW_US
        self._learned: dict[str, Lead] = {}
        self._changed: dict[str, Lead] = {}
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._decided: list[StoredDecision] = []
        self._turned: set[str] = set()  # pools
        self._reps: set[str] = set()

    @cached_property
    def team_state(self) -> TeamState:
        """Pools and reps, locked when first asked for: after every lead."""
        team, connection = self.rules.team, self.unit.connection
        locked, waited_for = store.lock_team_state(connection, team.pool_by_id, team.rep_by_id)
        self.queue.refresh(waited_for, connection)
        return locked

    # --- what is known --------------------------------------------------------------------------------------------

    def lead(self, id: str) -> Lead:
        """The lead of that id; one nobody has heard of begins its life."""
        found = self.leads.get(id)
        if found is None:
            found = self.leads[id] = Lead(id, self.rules.initial, created_at=self.at)
            self.change(found)
        return found

    def learn(self, lead: Lead) -> None:
        """What scoring says of this lead changed, nothing else."""
        lead.updated_at = self.at
        self._learned[lead.id] = lead

    def change(self, lead: Lead) -> None:
        """Something of this lead changed."""
        lead.updated_at = self.at
        self._changed[lead.id] = lead

    def presence(self, rep: str) -> Presence:
        """A rep about to change."""
        self._reps.add(rep)
        found = self.team_state.presence(rep)
        found.updated_at = self.at
        return found

    def emit(self, lead: Lead, event: type[LeadEvent], /, *, was: str, by: str, **rest: Any) -> None:
        """Tell what happened to `lead`, as it stands now."""
        lead.version += 1
        self.change(lead)
        told = event(
            lead_id=lead.id,
            version=lead.version,
            at=self.now,
            was=was,
            status=lead.status,
            epoch=lead.epoch,
            by=by,
            **rest,
        )
        self.unit.emit(told, key=lead.id)

    # --- what changes ---------------------------------------------------------------------------------------------

    def set_status(self, lead: Lead, status: str, owner: str | None) -> None:
        """Change status and owner, and the open load of whom that concerns. Nobody waits for a pool any more."""
        before = lead.owner if lead.status in HELD else None
        after = owner if status in HELD else None
        lead.status, lead.owner = status, owner
        lead.queue_pool = lead.queue_reason = lead.queue_since = None
        if owner is None:
            lead.pool = None
        if before == after:
            return
        if after is not None:
            self.presence(after).open += 1
        if before is not None:
            self.presence(before).open -= 1
            self.free_capacity()

    def free_capacity(self) -> None:
        """Somebody can take more than before."""
        self.queue.stale = True
        self.unit.wake(QUEUE_TICK)

    def close(self, lead: Lead, by: str, reason: str) -> None:
        """End the assignment of a lead that has an owner. The owner stays until `set_status`."""
        key = (lead.id, lead.epoch)
        assignment = self._assignments.setdefault(key, Assignment(lead.id, lead.epoch, stored=True))
        assignment.closed_at, assignment.closed_by, assignment.close_reason = self.at, by, reason
        lead.state.previous_owner, lead.state.previous_left_at = lead.owner, self.at

    def assign(self, lead: Lead, decision: Decision, inputs: Inputs, reason: str | None = None) -> None:
        """Open the next assignment of a lead without an owner, as decided; `reason`: of an assignment by hand. Raises
        `ValueError` when nobody was chosen."""
        if decision.chosen is None:
            raise ValueError(decision.why)
        was = lead.status
        lead.epoch += 1
        decision_id = self._record_decision(lead, decision, inputs)
        self._assignments[lead.id, lead.epoch] = Assignment(
            lead.id, lead.epoch, decision.chosen, decision.pool, decision.rule, decision_id, self.at
        )
        self._take_turn(decision)
        self.set_status(lead, ASSIGNED, decision.chosen)
        lead.pool, lead.state.assigned_at, lead.state.not_again = decision.pool, self.at, None
        self.emit(
            lead,
            LeadAssigned,
            was=was,
            by=SYSTEM.name,
            rep=decision.chosen,
            decision_id=decision_id,
            urgency=lead.urgency,
            submit_at=moment(lead.submit_at or self.at),
            assigned_at=self.now,
            reassignments=lead.state.reassignments,
            touched_at=at(lead.touched_at),
            rep_version=self.team_state.presence(decision.chosen).version,
            pool=decision.pool,
            rule=decision.rule,
            reason=reason,
            card=card(lead),
        )

    def _take_turn(self, decision: Decision) -> None:
        turn, pool = decision.turn, decision.pool
        if turn is None or pool is None:
            return
        self.team_state.pools[pool] = turn.lags
        self._turned.add(pool)

    def _record_decision(self, lead: Lead, decision: Decision, inputs: Inputs) -> str:
        id = self.unit.new_id()
        self._decided.append(StoredDecision(id, lead.id, lead.epoch, self.at, self.rules.version, decision, inputs))
        return id

    # --- routing --------------------------------------------------------------------------------------------------

    def choose(self, lead: Lead) -> tuple[Decision, Inputs]:
        """Who would get `lead` now."""
        inputs = gather_inputs(self.rules, lead, self.team_state, self.now)
        return decide(inputs), inputs

    def route(self, lead: Lead) -> None:
        """Give a qualified lead its owner, or its place in the queue. No room goes to it that a waiting one could use."""
        if lead.status not in self.rules.assignable:
            refused = move(self.rules.lifecycle, lead.status, SYSTEM, to=ASSIGNED)
            self._wait(lead, "", refused.why if isinstance(refused, Refused) else "")
            return
        self.serve()
        decision, inputs = self.choose(lead)
        if decision.chosen is None:
            self._record_decision(lead, decision, inputs)
            self._wait(lead, decision.pool or "", decision.why)
            return
        before = self.waits_for(decision.chosen)
        if before is None:
            self.assign(lead, decision, inputs)
        else:
            self._wait(lead, decision.pool or before, NO_TURN)
            self.unit.wake(QUEUE_TICK)

    def waits_for(self, rep: str) -> str | None:
        """A pool whose waiting leads `rep` may take and that this unit has not looked at."""
        unseen = self.queue.waited_for - self.queue.whole
        return next((pool for pool in sorted(unseen) if rep in self.rules.reach(pool)), None)

    def _wait(self, lead: Lead, pool: str, reason: str) -> None:
        was = lead.status
        self.queue.add(pool, lead.id)
        lead.queue_pool, lead.queue_reason = pool, reason
        lead.queue_since = lead.queue_since or self.at
        lead.submit_at = self.at if lead.submit_at is None else lead.submit_at  # its place in the queue
        self._emit_queued(lead, was)

    def _emit_queued(self, lead: Lead, was: str) -> None:
        self.emit(
            lead,
            LeadQueued,
            was=was,
            by=SYSTEM.name,
            pool=lead.queue_pool,
            reason=lead.queue_reason,
            urgency=lead.urgency,
            submit_at=moment(lead.submit_at or self.at),
        )

    def serve(self) -> int:
        """Give waiting leads of this unit whatever room there is, hottest first, then by submit; how many got an owner."""
        queue = self.queue
        if not queue.stale or not queue.ids:
            return 0
        queue.stale = False
        waiting = [lead for id in queue.ids if (lead := self.leads.get(id)) and lead.queue_pool is not None]
        served = sum(self._serve(lead) for lead in sorted(waiting, key=lambda lead: lead.place))
        queue.ids = [lead.id for lead in waiting if lead.queue_pool is not None]
        return served

    def _serve(self, lead: Lead) -> bool:
        if lead.state.suppressed is not None:
            return False
        decision, inputs = self.choose(lead)
        if decision.chosen is not None:
            self.assign(lead, decision, inputs)
            return True
        pool, reason = decision.pool or "", decision.why
        if pool != lead.queue_pool:  # another agreement, or other facts, send it elsewhere
            lead.queue_pool, lead.queue_reason = pool, reason
            self._emit_queued(lead, lead.status)
        elif reason != lead.queue_reason:
            lead.queue_reason = reason
            self.change(lead)
        return False

    # --- the end --------------------------------------------------------------------------------------------------

    def save_leads(self, *, but: Collection[str]) -> None:
        """Store every lead that changed, but those; they and what changes from now on are for `save`."""
        learned = self._only_learned()
        store.save(
            self.unit.connection,
            [lead for id, lead in self._changed.items() if id not in but],
            [lead for id, lead in learned.items() if id not in but],
        )
        self._learned = {id: lead for id, lead in learned.items() if id in but}
        self._changed = {id: lead for id, lead in self._changed.items() if id in but}

    def save(self) -> None:
        """Store everything that changed, at the unit's end and in a constant number of statements."""
        changes = store.RoutingChanges(
            self._changed.values(),
            self._only_learned().values(),
            self._assignments.values(),
            self._decided,
            {pool: self.team_state.pools[pool] for pool in self._turned},
            {rep: self.team_state.reps[rep] for rep in self._reps},
        )
        store.store_changes(self.unit, changes)

    def _only_learned(self) -> dict[str, Lead]:
        return {id: lead for id, lead in self._learned.items() if id not in self._changed}
