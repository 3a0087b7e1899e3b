"""The working set of one unit: leads, pools and reps are loaded once, changed in memory, and stored in bulk.

Decisions are made in `domain` and applied here. Every change of a lead's status, owner or place in the queue goes
through this session, so that open load, epochs, the queue and the events on `routes` agree.
"""

from collections.abc import Collection
from functools import cached_property

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage.unit import Unit
from schemas.events import LeadAssigned, LeadEvent, LeadQueued
from services.router.domain.availability import PresenceChange, observed, stated
from services.router.domain.decision import Decision, Inputs, decide, gather_inputs, manual_inputs
from services.router.domain.event_time import SKEW_US, forget_ahead
from services.router.domain.lead import ASSIGNED, Lead, at, card
from services.router.domain.lifecycle import SYSTEM, Refused, move
from services.router.domain.outcome import Outcome, next_event, set_status
from services.router.domain.rules import rules_of
from services.router.domain.team_state import Presence, RepState, TeamState
from services.router.queue import QUEUE_TICK, WaitingLeads
from services.router.store.changes import RoutingChanges, store_changes
from services.router.store.decisions import Assignment, StoredDecision
from services.router.store.leads import lock_leads, save_leads
from services.router.store.team import lock_team_state

TEAM_TICK = "router.team"
NO_TURN = "others wait before it"


class RoutingSession:
    """The leads of one unit and their changes.

    `leads` holds each lead as it is now. `apply` puts another object in its place, so look a lead up again afterwards.
    """

    def __init__(
        self, unit: Unit, wanted: Collection[str], queue: WaitingLeads | None = None, *, skew_us: int = SKEW_US
    ) -> None:
        self.unit = unit
        self.rules = rules_of(unit.config)
        self.queue = queue or WaitingLeads()
        self.leads = lock_leads(unit, {*wanted, *self.queue.ids})
        self.now = unit.now
        self.at = micros(self.now)
        for lead in self.leads.values():
            forget_ahead(lead, self.at)
        self.skew_us = skew_us
        self._learned: dict[str, Lead] = {}
        self._changed: dict[str, Lead] = {}
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._decided: list[StoredDecision] = []
        self._turned: set[str] = set()  # pools
        self._reps: set[str] = set()

    @cached_property
    def team_state(self) -> TeamState:
        """Pools and reps. They are locked at the first use, after every lead."""
        team, connection = self.rules.team, self.unit.connection
        locked, waited_for = lock_team_state(connection, team.pool_by_id, team.rep_by_id)
        self.queue.refresh(waited_for, connection)
        return locked

    # --- leads ----------------------------------------------------------------------------------------------------

    def lead(self, id: str) -> Lead:
        """Return the lead of that id. An unknown lead is created."""
        lead = self.leads.get(id)
        if lead is None:
            lead = self.leads[id] = Lead(id, self.rules.initial, created_at=self.at)
            self.change(lead)
        return lead

    def learn(self, lead: Lead) -> None:
        """Note that the score of this lead changed, and nothing else."""
        lead.updated_at = self.at
        self._learned[lead.id] = lead

    def change(self, lead: Lead) -> None:
        """Note that this lead changed."""
        lead.updated_at = self.at
        self._changed[lead.id] = lead

    def apply(self, outcome: Outcome | Refused) -> Refused | None:
        """Apply what an action decided, and find the owner that it asks for. A refusal changes nothing and is returned."""
        if isinstance(outcome, Refused):
            return outcome
        self.apply_change(outcome)
        request = outcome.next_owner
        if request is None:
            return None
        if request.rep is None:
            self.route(outcome.lead)
        else:
            inputs = manual_inputs(outcome.lead, self.now, request.rule, request.rep)
            self.assign(outcome.lead, decide(inputs), inputs, request.reason)
        return None

    def apply_change(self, outcome: Outcome) -> None:
        """Apply what an action decided, without finding an owner."""
        after = outcome.lead
        before = self.leads[after.id]
        if after is before:  # the action was in effect
            return
        self.leads[after.id] = after
        self.change(after)
        if (ended := outcome.ended) is not None:
            key = (after.id, after.epoch)
            assignment = self._assignments.setdefault(key, Assignment(after.id, after.epoch, stored=True))
            assignment.closed_at, assignment.closed_by, assignment.close_reason = self.at, ended.by, ended.reason
        self._move_load(before.holder, after.holder)
        for event in outcome.events:
            self.unit.emit(event, key=after.id)

    def emit(self, lead: Lead, event: LeadEvent) -> None:
        """Emit the next event of `lead`, which `next_event` made."""
        self.change(lead)
        self.unit.emit(event, key=lead.id)

    # --- reps -----------------------------------------------------------------------------------------------------

    def state_availability(self, rep: str, state: RepState, until: int | None, reason: str | None = None) -> Presence:
        """Store and publish what a command states of `rep`. The leads of a deactivated rep are routed again soon after."""
        change = stated(rep, self.team_state.presence(rep), self.at, state, until, reason)
        if change is not None:
            self._change_presence(rep, change)
            if state == "deactivated":
                self.unit.wake(TEAM_TICK)
        return self.team_state.presence(rep)

    def observe_availability(self, rep: str, state: RepState) -> None:
        """Store and publish a state that follows from the team file or from the time."""
        change = observed(rep, self.team_state.presence(rep), self.at, state)
        if change is not None:
            self._change_presence(rep, change)

    def _change_presence(self, rep: str, change: PresenceChange) -> None:
        self.team_state.reps[rep] = change.presence
        self._reps.add(rep)
        self.unit.emit(change.event, key=rep)
        if change.event.state == "available":
            self._free_capacity()

    def _move_load(self, before: str | None, after: str | None) -> None:
        """Count a lead as open load of `after` instead of `before`. None: it is no open load."""
        if before == after:
            return
        if after is not None:
            self._loaded(after).open += 1
        if before is not None:
            self._loaded(before).open -= 1
            self._free_capacity()

    def _loaded(self, rep: str) -> Presence:
        self._reps.add(rep)
        presence = self.team_state.presence(rep)
        presence.updated_at = self.at
        return presence

    def _free_capacity(self) -> None:
        """Note that a rep can take more than before."""
        self.queue.stale = True
        self.unit.wake(QUEUE_TICK)

    # --- owners ---------------------------------------------------------------------------------------------------

    def assign(self, lead: Lead, decision: Decision, inputs: Inputs, reason: str | None = None) -> None:
        """Open the next assignment of a lead without an owner.

        Args:
            reason: of an assignment by hand.

        Raises:
            ValueError: the decision chose no rep.
        """
        rep = decision.chosen
        if rep is None:
            raise ValueError(decision.why)
        was, before = lead.status, lead.holder
        lead.epoch += 1
        decision_id = self._record_decision(lead, decision, inputs)
        self._assignments[lead.id, lead.epoch] = Assignment(
            lead.id, lead.epoch, rep, decision.pool, decision.rule, decision_id, self.at
        )
        if decision.turn is not None and decision.pool is not None:
            self.team_state.pools[decision.pool] = decision.turn.lags
            self._turned.add(decision.pool)
        set_status(lead, ASSIGNED, rep)
        self._move_load(before, rep)
        lead.pool, lead.state.assigned_at, lead.state.not_again = decision.pool, self.at, None
        self._emit_assigned(lead, was, rep, decision, decision_id, reason)

    def _emit_assigned(
        self, lead: Lead, was: str, rep: str, decision: Decision, decision_id: str, reason: str | None
    ) -> None:
        event = next_event(
            lead,
            LeadAssigned,
            at=self.now,
            was=was,
            by=SYSTEM.name,
            rep=rep,
            decision_id=decision_id,
            urgency=lead.urgency,
            submit_at=moment(lead.submit_at or self.at),
            assigned_at=self.now,
            reassignments=lead.state.reassignments,
            touched_at=at(lead.touched_at),
            rep_version=self.team_state.presence(rep).version,
            pool=decision.pool,
            rule=decision.rule,
            reason=reason,
            card=card(lead),
        )
        self.emit(lead, event)

    def _record_decision(self, lead: Lead, decision: Decision, inputs: Inputs) -> str:
        id = self.unit.new_id()
        self._decided.append(StoredDecision(id, lead.id, lead.epoch, self.at, self.rules.version, decision, inputs))
        return id

    def _choose(self, lead: Lead) -> tuple[Decision, Inputs]:
        inputs = gather_inputs(self.rules, lead, self.team_state, self.now)
        return decide(inputs), inputs

    def route(self, lead: Lead) -> None:
        """Find the owner of a qualified lead, or its place in the queue. Capacity that a waiting lead could use goes to that
        lead first."""
        if lead.status not in self.rules.assignable:
            refused = move(self.rules.lifecycle, lead.status, SYSTEM, to=ASSIGNED)
            self._wait(lead, "", refused.why if isinstance(refused, Refused) else "")
            return
        self.serve()
        decision, inputs = self._choose(lead)
        if decision.chosen is None:
            self._record_decision(lead, decision, inputs)
            self._wait(lead, decision.pool or "", decision.why)
            return
        before = self._waits_for(decision.chosen)
        if before is None:
            self.assign(lead, decision, inputs)
        else:
            self._wait(lead, decision.pool or before, NO_TURN)
            self.unit.wake(QUEUE_TICK)

    # --- the queue ------------------------------------------------------------------------------------------------

    def _waits_for(self, rep: str) -> str | None:
        """Return a pool whose waiting leads `rep` may take and that are not all in memory."""
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
        event = next_event(
            lead,
            LeadQueued,
            at=self.now,
            was=was,
            by=SYSTEM.name,
            pool=lead.queue_pool,
            reason=lead.queue_reason,
            urgency=lead.urgency,
            submit_at=moment(lead.submit_at or self.at),
        )
        self.emit(lead, event)

    def serve(self) -> int:
        """Assign the waiting leads of this unit while there is capacity, hottest first, then by submit. Return how many."""
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
        decision, inputs = self._choose(lead)
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

    # --- storing --------------------------------------------------------------------------------------------------

    def save_leads_except(self, ids: Collection[str]) -> None:
        """Store every changed lead except `ids`. `save` stores these, and all later changes."""
        learned = self._only_learned()
        save_leads(
            self.unit.connection,
            [lead for id, lead in self._changed.items() if id not in ids],
            [lead for id, lead in learned.items() if id not in ids],
        )
        self._learned = {id: lead for id, lead in learned.items() if id in ids}
        self._changed = {id: lead for id, lead in self._changed.items() if id in ids}

    def save(self) -> None:
        """Store every change, at the unit's end and in a constant number of statements."""
        changes = RoutingChanges(
            self._changed.values(),
            self._only_learned().values(),
            self._assignments.values(),
            self._decided,
            {pool: self.team_state.pools[pool] for pool in self._turned},
            {rep: self.team_state.reps[rep] for rep in self._reps},
        )
        store_changes(self.unit, changes)

    def _only_learned(self) -> dict[str, Lead]:
        return {id: lead for id, lead in self._learned.items() if id not in self._changed}
