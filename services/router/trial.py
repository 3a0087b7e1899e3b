"""Routes leads for a trial: the decisions of the handlers, on what is stored. Nothing is stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros, moment
from schemas.events.base import Event
from schemas.events.leads import ConsentChanged, LeadScored, LeadTouched, MatchedLine, OpportunityMoved
from schemas.events.routes import LeadAskedAgain, LeadEvent
from services.router.domain import activity
from services.router.domain.decision import Considered, considered, decide, gather_inputs
from services.router.domain.event_time import drop_future_times
from services.router.domain.lead import ASSIGNED, Lead
from services.router.domain.lifecycle import SYSTEM, Refused, move
from services.router.domain.outcome import Outcome, set_status
from services.router.domain.owner_events import assigned, queued
from services.router.domain.qualify import hand_over, judge
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import RotationState, TeamState
from services.router.store.leads import find_lead
from services.router.store.team import read_team_state


class TriedOwner(NamedTuple):
    """The owner that the rules would choose. `rep` None: the lead would wait in the queue of `pool`."""

    rep: str | None
    pool: str | None
    rule: str | None
    why: str
    considered: Sequence[Considered]


class TriedRoute(NamedTuple):
    """The effect of an event on a lead.

    `line`: of `qualify`, by which the lead would be handed over or ask again; None: `why` says why not. `owner` None: nothing
    would be decided. `records`: what the router would emit.
    """

    was: str
    status: str
    line: MatchedLine | None
    why: str | None
    owner: TriedOwner | None
    records: Sequence[LeadEvent]


class RouteTrial:
    """The leads and the team of one trial. Each event finds what those before it would have changed."""

    def __init__(self, connection: Connection, config: Config, now: datetime, skew_us: int) -> None:
        self._connection, self._now, self._at, self._skew_us = connection, now, micros(now), skew_us
        self._rules = rules_of(config)
        self._team: TeamState | None = None
        self._leads: dict[str, Lead] = {}

    def hear(self, lead_id: str, events: Sequence[Event], event_id: str) -> TriedRoute:
        """Return the effect of the records of scoring that one event makes, which end with the score."""
        lead = self._lead(lead_id)
        was, records, line, why, owner = lead.status, list[LeadEvent](), None, None, None
        for event in events:
            outcome: Outcome | Refused | None = None
            if isinstance(event, LeadScored):
                outcome, line, why = self._score(lead, event)
            elif isinstance(event, LeadTouched):
                touch = activity.reported(event, event_id, self._rules)
                outcome = activity.touch(lead, touch, self._rules, self._at, self._skew_us)
            elif isinstance(event, ConsentChanged):
                change = activity.consent_given if event.given else activity.consent_withdrawn
                outcome = change(lead, self._rules, self._at, event.reason, micros(event.at))
            elif isinstance(event, OpportunityMoved):
                outcome = activity.deal(lead, self._rules, self._at, event.stage, micros(event.at))
            if isinstance(outcome, Outcome):
                lead = outcome.lead
                records += outcome.events
                if outcome.next_owner is not None:
                    owner = self._route(lead, records)
        self._leads[lead_id] = lead
        return TriedRoute(was, lead.status, line, why, owner, records)

    def _lead(self, id: str) -> Lead:
        if id not in self._leads:
            stored = find_lead(self._connection, id) or Lead(id, self._rules.initial, created_at=self._at)
            drop_future_times(stored, self._at)
            self._leads[id] = stored
        return self._leads[id]

    def _score(self, lead: Lead, event: LeadScored) -> tuple[Outcome | None, MatchedLine | None, str | None]:
        """Return the outcome of a score, the line that is met, and why none is."""
        judged = judge(lead, event, self._rules, self._at)
        if judged.again is not None:
            again = judged.again.events[0]
            name = again.line if isinstance(again, LeadAskedAgain) else ""
            return judged.again, next((line for line in event.met if line.name == name), None), None
        if judged.line is not None:
            return hand_over(lead, event, judged.line, self._rules, self._at), judged.line, None
        return None, None, _why_no_line(lead, event, self._rules)

    def _route(self, lead: Lead, records: list[LeadEvent]) -> TriedOwner:
        """Choose the owner of a lead. Lead and team change, and the record of the change is added."""
        was, rules = lead.status, self._rules
        if was not in rules.assignable:
            refused = move(rules.lifecycle, was, SYSTEM, to=ASSIGNED)
            lead.queue_pool, lead.queue_reason = "", refused.why if isinstance(refused, Refused) else ""
            records.append(queued(lead, was, self._now))
            return TriedOwner(None, "", None, lead.queue_reason, ())
        if self._team is None:
            self._team = read_team_state(self._connection, rules.team.pool_by_id, rules.shares)
        team = self._team
        inputs = gather_inputs(rules, lead, team, self._now)
        decision = decide(inputs)
        if decision.chosen is None:
            lead.queue_pool, lead.queue_reason = decision.pool or "", decision.why
            records.append(queued(lead, was, self._now))
        else:
            lead.epoch += 1
            set_status(lead, ASSIGNED, decision.chosen)
            lead.pool, lead.state.assigned_at = decision.pool, self._at
            team.presence(decision.chosen).open += 1
            if decision.turn is not None and decision.pool is not None:
                team.pools[decision.pool] = RotationState(decision.turn.lags)
            version = team.presence(decision.chosen).version
            records.append(assigned(lead, was, self._now, decision, "", version, None))
        return TriedOwner(decision.chosen, decision.pool, decision.rule, decision.why, [*considered(inputs)])


def _why_no_line(lead: Lead, scored: LeadScored, rules: RoutingRules) -> str:
    if scored.suppressed is not None:
        return f"the agreement suppresses the person: {scored.suppressed}"
    if not scored.met:
        return "no line of `qualify` is met"
    if lead.owner is not None:
        return f"the lead has an owner already ({lead.owner}), and this is no new request"
    if lead.status not in rules.handover:
        return f"a lead that is {lead.status} is not handed over"
    if lead.state.rests_until is not None:
        return f"the lead rests until {moment(lead.state.rests_until):%Y-%m-%d %H:%MZ}"
    if not lead.state.armed:
        return "the score has handed the lead over before; its total has to fall below `rearm_below` first"
    return "the event is older than the status of the lead"
