"""What the router does when it hears of a lead or of an action: load, decide, store, emit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events import (
    ActionRequested,
    ActionResolved,
    ConsentChanged,
    Event,
    LeadQualified,
    LeadScored,
    LeadTouched,
    MatchedLine,
    OpportunityMoved,
)
from services.router import acts
from services.router.domain.event_time import SKEW_US, is_older
from services.router.domain.lead import QUALIFIED, Lead, title
from services.router.domain.lifecycle import SYSTEM, Refused
from services.router.domain.qualify import learn, line_met, qualify, rearm
from services.router.domain.rules import rules_of
from services.router.queue import peek_queue
from services.router.session import RoutingSession

_HEARD = (LeadScored, LeadTouched, ConsentChanged, OpportunityMoved)
MOVES_LEADS_ON = frozenset({"reject", "reassign"})


def hear_leads(batch: Sequence[Record], unit: Unit, skew_us: int = SKEW_US) -> None:
    """Learn scores; hand over who meets a line, and give them an owner in the same unit; apply touches, consents, deals.

    What concerns one lead alone is done and stored first, the rest in the order of the batch: pools and reps are locked
    as late as can be, since every router waits for them. Leads that wait for room are part of that rest, for their turn
    may come at any step of it. So who gets which lead does not depend on how the records were cut into batches.

    `skew_us`: how far the clock of a sender of touches may be behind, in microseconds.
    """
    heard = [(record, event) for record in batch if isinstance(event := record.event, _HEARD)]
    if not heard:
        return
    rules = rules_of(unit.config)
    routes = any(isinstance(event, LeadScored) and event.met for _, event in heard)
    session = RoutingSession(unit, {event.lead_id for _, event in heard}, peek_queue(unit, rules) if routes else None)
    session.skew_us = skew_us
    shared: list[Callable[[], None]] = []
    held = set(session.queue.ids)  # leads of which a record is in `shared`, and those that may be served by it
    for record, event in heard:
        lead = session.lead(event.lead_id)
        if isinstance(event, LeadScored) and lead.id not in held:
            step = _scored(session, lead, event)
            if step is None:
                continue
        else:
            step = partial(_LEADS[type(event)], session, lead, event, record)
        held.add(lead.id)
        shared.append(step)
    if shared:
        session.save_leads(but=held)
    for step in shared:
        step()
    session.save()


def _scored(session: RoutingSession, lead: Lead, event: LeadScored) -> Callable[[], None] | None:
    """Learn the score. What is left to do where others' leads count too: nothing, unless the lead is handed over."""
    newer, same_email = event.version > lead.scoring_version, lead.email == event.email
    learn(lead, event)
    if newer:
        rearm(lead, event, session.rules, session.at)
    if same_email:
        session.learn(lead)
    else:
        session.change(lead)
    met = line_met(lead, event, session.rules) if event.met else None
    asked_at = micros(event.trigger.at)
    if met is None or is_older(lead, asked_at) or not (newer or (met.by_event and asked_at > (lead.submit_at or 0))):
        return None  # an older record counts only if they asked for something since
    if lead.owner is not None:
        return partial(_hand_over, session, lead, event, met)
    _qualified(session, lead, event, met)
    return partial(session.route, lead)


def _scored_in_turn(session: RoutingSession, lead: Lead, event: LeadScored, _: Record) -> None:
    step = _scored(session, lead, event)
    if step is not None:
        step()


def _hand_over(session: RoutingSession, lead: Lead, event: LeadScored, met: MatchedLine) -> None:
    """A lead that somebody has is handed over anew."""
    session.close(lead, SYSTEM.name, f"qualified: {met.name}")
    _qualified(session, lead, event, met)
    session.route(lead)


def _qualified(session: RoutingSession, lead: Lead, event: LeadScored, met: MatchedLine) -> None:
    """Marketing's lead becomes Sales': it is owned or queued in the same unit."""
    was = lead.status
    qualify(lead, event, met, session.rules)
    session.set_status(lead, QUALIFIED, None)
    session.emit(
        lead,
        LeadQualified,
        was=was,
        by=SYSTEM.name,
        line=met.name,
        urgency=met.urgency,
        submit_at=moment(lead.submit_at or session.at),
        score=event.score,
        trigger=event.trigger,
        title=title(lead.state.facts),
    )


def _touched(session: RoutingSession, lead: Lead, event: LeadTouched, record: Record) -> None:
    rep = event.by or session.rules.rep_by_email.get((event.by_email or "").lower())
    acts.touch(
        session,
        lead,
        f"rep:{rep}" if rep else SYSTEM.name,
        channel=event.channel,
        answered=event.answered,
        when=micros(event.at),
        rep=rep,
        event_id=event.event_id or record.event_id,
        note=event.note,
    )


def _consented(session: RoutingSession, lead: Lead, event: ConsentChanged, _: Record) -> None:
    when = min(micros(event.at), session.at)
    if event.given:
        acts.consent_again(session, lead, event.reason, when)
    else:
        acts.opt_out(session, lead, SYSTEM, event.reason, when)


def _dealt(session: RoutingSession, lead: Lead, event: OpportunityMoved, _: Record) -> None:
    acts.opportunity(session, lead, event.stage, min(micros(event.at), session.at))


_LEADS: dict[type[Event], Callable[[RoutingSession, Lead, Any, Record], None]] = {
    LeadScored: _scored_in_turn,
    LeadTouched: _touched,
    ConsentChanged: _consented,
    OpportunityMoved: _dealt,
}


# --- actions ------------------------------------------------------------------------------------------------------


def hear_actions(batch: Sequence[Record], unit: Unit, skew_us: int = SKEW_US) -> None:
    """Apply what buttons and rungs ask for, if epoch and state still fit, and answer each."""
    asked = [event for record in batch if isinstance(event := record.event, ActionRequested)]
    if not asked:
        return
    routes = any(event.action in MOVES_LEADS_ON for event in asked)
    rules = rules_of(unit.config)
    session = RoutingSession(unit, {event.lead_id for event in asked}, peek_queue(unit, rules) if routes else None)
    session.skew_us = skew_us
    for event in asked:
        refused = _apply(session, event)
        answer = ActionResolved(
            lead_id=event.lead_id,
            action_id=event.action_id,
            action=event.action,
            epoch=event.epoch,
            at=session.now,
            outcome="refused" if refused else "applied",
            why=f"{refused.why}; {refused.remedy}" if refused else None,
        )
        unit.emit(answer, key=event.lead_id)
    session.save()


def _apply(session: RoutingSession, event: ActionRequested) -> Refused | None:
    lead = session.leads.get(event.lead_id)
    if lead is None:
        return Refused("nobody knows this lead", "nothing to do")
    actor = acts.somebody(session, lead, event.by)
    reason = event.reason or ""
    if event.action == "touch":
        channel = event.channel or "other"
        when = micros(event.at)
        acts.touch(
            session,
            lead,
            event.by,
            channel=channel,
            answered=event.answered,
            when=when,
            rep=actor.rep,
            event_id=event.action_id,
        )
        return None
    if event.action == "away":
        if actor.rep is None:
            return Refused(f"{event.by} is no rep", "only a rep can be away")
        acts.available(session, actor.rep, "away", micros(event.until) if event.until else None)
        return None
    if event.action == "reject" and (event.epoch == lead.epoch or acts.rejected_already(lead, actor, reason)):
        return acts.reject(session, lead, actor, reason, micros(event.until) if event.until else None)
    if event.epoch != lead.epoch:
        return Refused(f"assignment {event.epoch} is over", f"the lead is at {lead.epoch} now, {lead.status}")
    if event.action == "accept":
        return acts.accept(session, lead, actor)
    if event.action == "reassign":
        return acts.reassign(session, lead, actor, reason, told=event.told)
    return None  # snooze: quiet for a while, which is the notifier's affair
