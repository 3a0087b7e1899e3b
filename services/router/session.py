"""The working set of one unit: leads, pools and reps are loaded once, changed in memory, and stored in bulk.

`domain` decides; the session applies the decisions. Every change of a lead's status, owner or place in the queue is made
here, so that open load, epochs, the queue and the events on `routes` agree.
"""

from collections.abc import Collection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import HELD_BACK, LeadEvent
from services.router.domain.burst import LeadBurst, burst_of
from services.router.domain.decision import Decision, Inputs, decide, gather_inputs, is_behind, manual_inputs
from services.router.domain.dropping import drop
from services.router.domain.event_time import SKEW_US, drop_future_times
from services.router.domain.lead import ASSIGNED, Lead
from services.router.domain.lifecycle import SYSTEM, Refused, move
from services.router.domain.outcome import Outcome, set_status
from services.router.domain.owner_events import assigned, queued
from services.router.domain.rotation import stored, turned
from services.router.domain.rules import rules_of
from services.router.domain.shares import source_of
from services.router.held import HeldBack
from services.router.queue import QUEUE_TICK, WaitingLeads
from services.router.store.changes import RoutingChanges, store_changes
from services.router.store.decisions import Assignment, StoredDecision
from services.router.store.leads import lock_leads, save_leads
from services.router.team import LockedTeam

NO_TURN = "other leads are before it in the queue"


class RoutingSession:
    """The leads of one unit and their changes.

    `leads` contains the current object of each lead. `apply` replaces it, so look a lead up again afterwards.
    """

    def __init__(
        self, unit: Unit, lead_ids: Collection[str], queue: WaitingLeads | None = None, *, skew_us: int = SKEW_US
    ) -> None:
        self.unit = unit
        self.rules = rules_of(unit.config)
        self.queue = queue or WaitingLeads()
        self.team = LockedTeam(unit, self.queue)
        self.held_back = HeldBack(unit)
        self.leads = lock_leads(unit, {*lead_ids, *self.queue.ids})
        self.now = unit.now
        self.at = micros(self.now)
        for lead in self.leads.values():
            drop_future_times(lead, self.at)
        self.skew_us = skew_us
        self._scored_leads: dict[str, Lead] = {}
        self._changed_leads: dict[str, Lead] = {}
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._decisions: list[StoredDecision] = []

    # --- leads ----------------------------------------------------------------------------------------------------

    def lead(self, id: str) -> Lead:
        """Return the lead with that id. An unknown lead is created."""
        lead = self.leads.get(id)
        if lead is None:
            lead = self.leads[id] = Lead(id, self.rules.initial, created_at=self.at)
            self.note_change(lead)
        return lead

    def note_score(self, lead: Lead) -> None:
        """Note that only the score of this lead changed."""
        lead.updated_at = self.at
        self._scored_leads[lead.id] = lead

    def note_change(self, lead: Lead) -> None:
        """Note that this lead changed."""
        lead.updated_at = self.at
        self._changed_leads[lead.id] = lead

    def apply(self, outcome: Outcome | Refused) -> Refused | None:
        """Apply an outcome and find the owner that it requests. Return a refusal, which changes nothing."""
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
        """Apply an outcome without finding an owner."""
        after = outcome.lead
        before = self.leads[after.id]
        if after is before:  # the action was in effect already
            return
        self.leads[after.id] = after
        self.note_change(after)
        if (ended := outcome.ended) is not None:
            key = (after.id, after.epoch)
            assignment = self._assignments.setdefault(key, Assignment(after.id, after.epoch, stored=True))
            assignment.closed_at, assignment.closed_by, assignment.close_reason = self.at, ended.by, ended.reason
        self.team.move_load(before.holder, after.holder, after.source)
        for event in outcome.events:
            self.unit.emit(event, key=after.id)

    def emit(self, lead: Lead, event: LeadEvent) -> None:
        """Note that this lead changed, and emit the event of the change."""
        self.note_change(lead)
        self.unit.emit(event, key=lead.id)

    # --- owners ---------------------------------------------------------------------------------------------------

    def assign(self, lead: Lead, decision: Decision, inputs: Inputs, reason: str | None = None) -> None:
        """Open the next assignment of a lead without an owner.

        Args:
            reason: the reason of an assignment by hand.

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
            rotation, roster = self.team.state.pools[decision.pool], self.rules.rosters[decision.pool]
            self.team.set_rotation(decision.pool, turned(rotation, decision.turn.lags, decision_id, roster))
        set_status(lead, ASSIGNED, rep)
        lead.source = source_of(lead)
        self.team.move_load(before, rep, lead.source)
        lead.pool, lead.state.assigned_at, lead.state.not_again = decision.pool, self.at, None
        rep_version = self.team.state.presence(rep).version
        self.emit(lead, assigned(lead, was, self.now, decision, decision_id, rep_version, reason))

    def _record_decision(self, lead: Lead, decision: Decision, inputs: Inputs) -> str:
        id = self.unit.new_id()
        kept = stored(inputs, self.team.state.pools, self.rules.rosters)
        self._decisions.append(
            StoredDecision(id, lead.id, lead.epoch, self.at, self.rules.version, decision.chosen, kept)
        )
        return id

    def _choose(self, lead: Lead) -> tuple[Decision, Inputs]:
        inputs = gather_inputs(self.rules, lead, self.team.state, self.now)
        return decide(inputs), inputs

    def route(self, lead: Lead) -> None:
        """Find the owner of a qualified lead, or its place in the queue. Waiting leads get free capacity first."""
        if lead.status not in self.rules.assignable:
            refused = move(self.rules.lifecycle, lead.status, SYSTEM, to=ASSIGNED)
            self._wait(lead, "", refused.why if isinstance(refused, Refused) else "")
            return
        burst = burst_of(lead)
        if burst is not None and self._stops(lead, burst):
            return
        self.serve()
        decision, inputs = self._choose(lead)
        if decision.chosen is None:
            self._record_decision(lead, decision, inputs)
            self._wait(lead, decision.pool or "", decision.why, behind=is_behind(inputs))
            return
        pool = self._unread_pool(decision.chosen)
        if pool is None:
            self.assign(lead, decision, inputs)
        else:
            self._wait(lead, decision.pool or pool, NO_TURN)
            self.unit.wake(QUEUE_TICK)

    # --- the queue ------------------------------------------------------------------------------------------------

    def _unread_pool(self, rep: str) -> str | None:
        """Return a pool whose waiting leads `rep` may take and are not all in memory. None: there is none."""
        incomplete = self.queue.pools - self.queue.complete_pools
        return next((pool for pool in sorted(incomplete) if rep in self.rules.reach(pool)), None)

    def _wait(self, lead: Lead, pool: str, reason: str, *, behind: bool = False) -> None:
        was = lead.status
        self.queue.add(pool, lead.id)
        lead.urgency_rank = self.rules.rank(lead.urgency, behind=behind)
        lead.queue_pool, lead.queue_reason = pool, reason
        lead.queue_since = lead.queue_since or self.at
        lead.submit_at = self.at if lead.submit_at is None else lead.submit_at  # it decides the place in the queue
        self.emit(lead, queued(lead, was, self.now))

    def _stops(self, lead: Lead, burst: LeadBurst) -> bool:
        """Hold a lead of a burst back, or drop it with the burst. Return False if the burst is released.

        A lead that is held back is not in the queue of a pool, so other leads pass it.
        """
        end = self.held_back.end(burst.id)
        if end is not None and end.kind == "released":
            return False
        dropped = end and drop(lead, self.rules, self.at, burst.id, end.by, end.reason)
        if isinstance(dropped, Outcome):
            self.apply_change(dropped)
        elif lead.queue_pool != HELD_BACK:
            self._hold_back(lead, burst)
        return True

    def _hold_back(self, lead: Lead, burst: LeadBurst) -> None:
        was = lead.status
        lead.queue_pool, lead.queue_reason = HELD_BACK, f"{HELD_BACK[1:-1]}: burst {burst.id} of {burst.label}"
        lead.queue_since = lead.queue_since or self.at
        self.held_back.add(burst, lead.state.trigger.source if lead.state.trigger else "")
        self.emit(lead, queued(lead, was, self.now))

    def serve(self) -> int:
        """Assign the waiting leads in memory while there is capacity, by urgency, then by submit. Return their number."""
        queue = self.queue
        if not queue.stale or not queue.ids:
            return 0
        queue.stale = False
        waiting = [lead for id in queue.ids if (lead := self.leads.get(id)) and lead.queue_pool is not None]
        count = sum(self._serve(lead) for lead in sorted(waiting, key=lambda lead: lead.place))
        queue.ids = [lead.id for lead in waiting if lead.queue_pool is not None]
        return count

    def _serve(self, lead: Lead) -> bool:
        if lead.state.suppressed is not None:
            return False
        decision, inputs = self._choose(lead)
        if decision.chosen is not None:
            self.assign(lead, decision, inputs)
            return True
        pool, reason = decision.pool or "", decision.why
        rank = self.rules.rank(lead.urgency, behind=is_behind(inputs))
        if rank != lead.urgency_rank:
            lead.urgency_rank = rank
            self.note_change(lead)
        if pool != lead.queue_pool:  # the agreement or the facts changed
            lead.queue_pool, lead.queue_reason = pool, reason
            self.emit(lead, queued(lead, lead.status, self.now))
        elif reason != lead.queue_reason:
            lead.queue_reason = reason
            self.note_change(lead)
        return False

    # --- storing --------------------------------------------------------------------------------------------------

    def save_leads_except(self, ids: Collection[str]) -> None:
        """Store every changed lead now, except `ids`. `save` stores these and all later changes."""
        scored_leads = self._only_scored()
        save_leads(
            self.unit.connection,
            [lead for id, lead in self._changed_leads.items() if id not in ids],
            [lead for id, lead in scored_leads.items() if id not in ids],
        )
        self._scored_leads = {id: lead for id, lead in scored_leads.items() if id in ids}
        self._changed_leads = {id: lead for id, lead in self._changed_leads.items() if id in ids}

    def save(self) -> None:
        """Store every change at the end of the unit, in a constant number of statements."""
        changes = RoutingChanges(
            self._changed_leads.values(),
            self._only_scored().values(),
            self._assignments.values(),
            self._decisions,
            self.team.changed_rotations,
            self.team.changed_presences,
            self.held_back.changes,
        )
        store_changes(self.unit, changes)

    def _only_scored(self) -> dict[str, Lead]:
        return {id: lead for id, lead in self._scored_leads.items() if id not in self._changed_leads}
