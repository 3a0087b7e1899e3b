"""Handlers of the router for leads and actions: load, decide, store, emit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events.actions import ActionRequested
from schemas.events.base import Event
from schemas.events.leads import ConsentChanged, LeadScored, LeadTouched, MatchedLine, OpportunityMoved
from schemas.events.routes import ActionResolved
from services.router.domain import actions, activity, ownership
from services.router.domain.event_time import SKEW_US
from services.router.domain.lead import Lead
from services.router.domain.lifecycle import Actor, Refused
from services.router.domain.outcome import Outcome
from services.router.domain.qualify import hand_over, judge
from services.router.domain.rules import rules_of
from services.router.held import BY_SPREAD
from services.router.queue import peek_queue
from services.router.session import RoutingSession

LEAD_RECORDS: Final = (LeadScored, LeadTouched, ConsentChanged, OpportunityMoved)

# --- leads --------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """The part of a record's work that concerns shared state: pools, reps and the queue."""

    run: Callable[[RoutingSession, "Step"], None]
    record: Record
    event: Any  # of the record, decoded
    line: MatchedLine | None = None  # the line that hands the lead over, if the score is learned already

    def lead(self, session: RoutingSession) -> Lead:
        """Return the current lead. An earlier step may have changed it."""
        return session.leads[self.event.lead_id]


def hear_leads(batch: Sequence[Record], unit: Unit, skew_us: int = SKEW_US) -> None:
    """Learn scores, route leads that meet a line, and apply touches, consents and deals.

    Changes that concern one lead alone are made and stored first. The other changes follow in the order of the batch: pools
    and reps are locked as late as possible, because every router waits for them. Any of these steps may serve a lead that
    waits for capacity. So the owner of a lead does not depend on the batches into which records are divided.

    Args:
        skew_us: how far the clock of a sender of touches may be behind, in microseconds.
    """
    records = [(record, event) for record in batch if isinstance(event := record.event, LEAD_RECORDS)]
    if not records:
        return
    routes = any(isinstance(event, LeadScored) and event.met for _, event in records)
    queue = peek_queue(unit, rules_of(unit.config)) if routes else None
    session = RoutingSession(unit, {event.lead_id for _, event in records}, queue, skew_us=skew_us)
    for _, event in records:
        if isinstance(event, LeadScored) and event.trigger.confirms:
            session.held_back.release(event.trigger.confirms, BY_SPREAD)
    for step in _learn_scores(session, records):
        step.run(session, step)
    session.save()


def _learn_scores(session: RoutingSession, records: Iterable[tuple[Record, Any]]) -> list[Step]:
    """Make and store the changes that concern one lead alone. Return the remaining steps, in the order of `records`."""
    steps: list[Step] = []
    shared = set(session.queue.ids)  # leads of a step, and leads that a step may serve
    for record, event in records:
        lead = session.lead(event.lead_id)
        if not isinstance(event, LeadScored) or lead.id in shared:
            step = Step(STEPS[type(event)], record, event)
        elif (line := _learn_score(session, lead, event)) is None:
            continue
        elif lead.owner is None:
            session.apply_change(hand_over(lead, event, line, session.rules, session.at))
            step = Step(_route, record, event)
        else:
            step = Step(_hand_over, record, event, line)
        shared.add(lead.id)
        steps.append(step)
    if steps:
        session.save_leads_except(shared)
    return steps


def _learn_score(session: RoutingSession, lead: Lead, event: LeadScored) -> MatchedLine | None:
    """Learn the score. Return the line that hands the lead over. None: no hand-over."""
    email = lead.email
    judged = judge(lead, event, session.rules, session.at)
    if lead.email == email:
        session.note_score(lead)
    else:
        session.note_change(lead)
    if judged.again is not None:
        session.apply_change(judged.again)
    return judged.line


def _route(session: RoutingSession, step: Step) -> None:
    session.route(step.lead(session))


def _hand_over(session: RoutingSession, step: Step) -> None:
    if step.line is not None:
        session.apply(hand_over(step.lead(session), step.event, step.line, session.rules, session.at))


def _score(session: RoutingSession, step: Step) -> None:
    line = _learn_score(session, step.lead(session), step.event)
    _hand_over(session, step._replace(line=line))


def _touch(session: RoutingSession, step: Step) -> None:
    event: LeadTouched = step.event
    touch = activity.reported(event, event.event_id or step.record.event_id, session.rules)
    session.apply(activity.touch(step.lead(session), touch, session.rules, session.at, session.skew_us))


def _consent(session: RoutingSession, step: Step) -> None:
    event: ConsentChanged = step.event
    change = activity.consent_given if event.given else activity.consent_withdrawn
    session.apply(change(step.lead(session), session.rules, session.at, event.reason, micros(event.at)))


def _deal(session: RoutingSession, step: Step) -> None:
    event: OpportunityMoved = step.event
    session.apply(activity.deal(step.lead(session), session.rules, session.at, event.stage, micros(event.at)))


STEPS: Final[Mapping[type[Event], Callable[[RoutingSession, Step], None]]] = {
    LeadScored: _score,
    LeadTouched: _touch,
    ConsentChanged: _consent,
    OpportunityMoved: _deal,
}

# --- actions ------------------------------------------------------------------------------------------------------

Action = Callable[[RoutingSession, Lead, Actor, ActionRequested], Outcome | Refused]


def hear_actions(batch: Sequence[Record], unit: Unit, skew_us: int = SKEW_US) -> None:
    """Apply the requests of buttons and rungs, and emit the result of each. A request of an ended assignment is refused."""
    requests = [event for record in batch if isinstance(event := record.event, ActionRequested)]
    if not requests:
        return
    routes = any(event.action in ROUTING_ACTIONS for event in requests)
    queue = peek_queue(unit, rules_of(unit.config)) if routes else None
    session = RoutingSession(unit, {event.lead_id for event in requests}, queue, skew_us=skew_us)
    for event in requests:
        refused = _act(session, event)
        result = ActionResolved(
            lead_id=event.lead_id,
            action_id=event.action_id,
            action=event.action,
            epoch=event.epoch,
            at=session.now,
            outcome="refused" if refused else "applied",
            why=f"{refused.why}; {refused.remedy}" if refused else None,
        )
        unit.emit(result, key=event.lead_id or event.by.removeprefix("rep:"))
    session.save()


def _act(session: RoutingSession, event: ActionRequested) -> Refused | None:
    if event.action in AVAILABILITY_ACTIONS:
        return _set_availability(session, event)
    lead = session.leads.get(event.lead_id)
    if lead is None:
        return Refused("unknown lead", "nothing to do")
    actor = actions.actor_of(session.rules, lead, event.by, cover=event.cover)
    return session.apply(ACTIONS[event.action](session, lead, actor, event))


def _ended(lead: Lead, event: ActionRequested) -> Refused | None:
    """Refuse an action of an assignment that has ended. None: the assignment is open."""
    if event.epoch != lead.epoch:
        return Refused(f"assignment {event.epoch} has ended", f"the lead is at {lead.epoch} now, {lead.status}")
    return None


def _accept(session: RoutingSession, lead: Lead, actor: Actor, event: ActionRequested) -> Outcome | Refused:
    return _ended(lead, event) or actions.accept(lead, actor, session.rules, session.at)


def _reject(session: RoutingSession, lead: Lead, actor: Actor, event: ActionRequested) -> Outcome | Refused:
    reason, until = event.reason or "", micros(event.until) if event.until else None
    if actions.rejected_already(lead, actor, reason):
        return Outcome(lead)
    return _ended(lead, event) or actions.reject(lead, actor, session.rules, session.at, reason, until, event.note)


def _reassign(session: RoutingSession, lead: Lead, actor: Actor, event: ActionRequested) -> Outcome | Refused:
    reason = event.reason or ""
    transition = _ended(lead, event) or ownership.reassignment(lead, actor, session.rules, reason)
    if isinstance(transition, Refused):
        return transition  # without locking the team
    session.serve()
    team = session.team.state
    return ownership.reassign(lead, actor, session.rules, session.at, team, reason, told=event.told)


def _pass_on(session: RoutingSession, lead: Lead, actor: Actor, event: ActionRequested) -> Outcome | Refused:
    rep = event.rep or ""
    if lead.owner == rep and lead.epoch == event.epoch + 1:
        return Outcome(lead)
    outcome = _ended(lead, event) or ownership.assign(lead, actor, session.rules, session.at, rep, event.note)
    if isinstance(outcome, Refused) or outcome.next_owner is None:
        return outcome  # without locking the team
    return ownership.cannot_take(session.rules, session.team.state.reps, rep, session.at, force=event.cover) or outcome


def _report_touch(session: RoutingSession, lead: Lead, actor: Actor, event: ActionRequested) -> Outcome:
    touch = activity.Touch(
        by=event.by,
        channel=event.channel or "other",
        answered=event.answered,
        when=micros(event.at),
        rep=actor.rep,
        event_id=event.action_id,
        note=event.note,
    )
    return activity.touch(lead, touch, session.rules, session.at, session.skew_us)


def _set_availability(session: RoutingSession, event: ActionRequested) -> Refused | None:
    """Set a rep away or available. The request names no lead."""
    rep = session.rules.rep(event.by.removeprefix("rep:")) if event.by.startswith("rep:") else None
    if rep is None or not rep.active:
        return Refused(f"{event.by} is not an active rep", "only a rep can be away")
    if event.action == "back":
        session.team.state_availability(rep.id, "available", None)
    else:
        session.team.state_availability(rep.id, "away", micros(event.until) if event.until else None)
    return None


def _snooze(session: RoutingSession, lead: Lead, actor: Actor, event: ActionRequested) -> Outcome | Refused:
    return _ended(lead, event) or Outcome(lead)  # the notifier delays the pages; the lead does not change


ACTIONS: Final[Mapping[str, Action]] = {
    "accept": _accept,
    "reject": _reject,
    "reassign": _reassign,
    "hand_over": _pass_on,
    "snooze": _snooze,
    "touch": _report_touch,  # of any epoch
}
AVAILABILITY_ACTIONS: Final = frozenset({"away", "back"})
"""The actions that concern a rep and no lead."""
ROUTING_ACTIONS: Final = frozenset({"reject", "reassign"})
"""The actions that may route the lead again: they need the queue in memory."""
