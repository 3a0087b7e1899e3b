"""Facts about a person (touches, consent, deals): `(lead, fact, rules, now) -> Outcome`. A fact is never refused.

Times are microseconds since the epoch. A time after now counts as now.
"""

import msgspec

from firsthour.kernel.time_units import micros, moment
from schemas.agreement.lifecycle import Transition
from schemas.events.leads import LeadTouched
from schemas.events.routes import LeadEvent, TouchApplied
from services.router.domain import event_time
from services.router.domain.actions import opt_out, recycle
from services.router.domain.event_time import note_change, note_consent, note_stage, touch_fault
from services.router.domain.lead import CUSTOMER, OPPORTUNITY, Lead
from services.router.domain.lifecycle import SYSTEM, Refused, after_consent, move
from services.router.domain.outcome import Outcome, change_of_status, copy_of, next_event, set_status
from services.router.domain.rules import RoutingRules


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An attempt to reach a person, or a conversation (`answered`). `by`: as in events."""

    by: str
    channel: str
    answered: bool
    when: int
    rep: str | None = None
    event_id: str | None = None
    note: str | None = None


def reported(event: LeadTouched, event_id: str, rules: RoutingRules) -> Touch:
    """Return the touch that a program reported, with its rep if the program names one."""
    rep = event.by or rules.rep_by_email.get((event.by_email or "").lower())
    by = f"rep:{rep}" if rep else SYSTEM.name
    return Touch(by, event.channel, event.answered, micros(event.at), rep, event_id, event.note)


def touch(lead: Lead, fact: Touch, rules: RoutingRules, now: int, skew_us: int) -> Outcome:
    """Record a touch. The `effect` of the outcome is its effect, or why it was ignored.

    Args:
        skew_us: how far the clock of the sender may be behind, in microseconds.
    """
    when, was, after = min(fact.when, now), lead.status, copy_of(lead)
    fault = touch_fault(lead, when, skew_us, now)
    stops = fact.answered or rules.stopped_by == "attempt"
    if fault is None:
        effect = event_time.count_touch(after, when, answered=fact.answered, stops=stops)
    else:
        effect = f"ignored: {fault}"
    if fault is None and stops:
        transition = move(rules.lifecycle, was, SYSTEM, when="touched")
        if isinstance(transition, Transition):
            note_change(after, when)
            set_status(after, transition.to, lead.owner)
    event = next_event(
        after,
        TouchApplied,
        at=moment(now),
        was=was,
        by=fact.by if after.status == was else SYSTEM.name,
        channel=fact.channel,
        answered=fact.answered,
        touched_at=moment(when if fault or lead.submit_at is None else max(when, lead.submit_at)),
        rep=fact.rep,
        event_id=fact.event_id,
        note=fact.note or None,
        ignored=fault,
        stops=stops,
    )
    return Outcome(after, (event,), effect=effect)


def consent_given(lead: Lead, rules: RoutingRules, now: int, reason: str, when: int) -> Outcome:
    """Record that the person consented at `when`. Without a later opt-out, the agreement names the next status."""
    when, after = min(when, now), copy_of(lead)
    to = after_consent(rules.lifecycle, lead.status)
    if not note_consent(after, when) or to is None:
        return Outcome(after)
    return Outcome(after, (_move(after, to, reason, when, now),))


def consent_withdrawn(lead: Lead, rules: RoutingRules, now: int, reason: str, when: int) -> Outcome | Refused:
    """Record that the person opted out at `when`."""
    return opt_out(lead, SYSTEM, rules, now, reason, min(when, now))


def deal(lead: Lead, rules: RoutingRules, now: int, stage: str, when: int) -> Outcome:
    """Record the stage that the deal had at `when`. A stage older than the status, or without a transition, is only noted."""
    when, after = min(when, now), copy_of(lead)
    if not note_stage(after, stage, when):
        return Outcome(after)
    if stage == "lost":
        outcome = recycle(after, SYSTEM, rules, now, stage, when)
        return Outcome(after) if isinstance(outcome, Refused) else outcome
    events: list[LeadEvent] = []
    ends = (CUSTOMER, OPPORTUNITY) if stage == "won" else (OPPORTUNITY,)
    first = next((end for end in ends if _may_become(after, rules, end)), None)
    if first is not None:
        events.append(_move(after, first, stage, when, now))
    if stage == "won" and after.status == OPPORTUNITY and _may_become(after, rules, CUSTOMER):
        events.append(_move(after, CUSTOMER, stage, when, now))
    return Outcome(after, tuple(events))


def _may_become(lead: Lead, rules: RoutingRules, status: str) -> bool:
    return isinstance(move(rules.lifecycle, lead.status, SYSTEM, to=status), Transition)


def _move(lead: Lead, to: str, reason: str, when: int, now: int) -> LeadEvent:
    """Change the status of the copy `lead` and return the event."""
    return change_of_status(lead, to, lead.owner, by=SYSTEM.name, reason=reason, when=when, now=now)
