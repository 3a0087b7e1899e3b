"""Facts about a person: touches, consent and deals, `(lead, fact, rules, now) -> Outcome`. A fact is never refused.

Times are microseconds since the epoch. A time to come counts as now.
"""

import msgspec

from firsthour.kernel.time_units import moment
from schemas.agreement.lifecycle import Transition
from schemas.events.routes import LeadEvent, LeadStatusChanged, TouchApplied
from services.router.domain import event_time
from services.router.domain.actions import opt_out, recycle
from services.router.domain.event_time import changed, consent, moves_deal, why_not
from services.router.domain.lead import CUSTOMER, OPPORTUNITY, Lead
from services.router.domain.lifecycle import SYSTEM, Refused, after_consent, move
from services.router.domain.outcome import Outcome, copied, next_event, set_status
from services.router.domain.rules import RoutingRules


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An attempt to reach a person, or a conversation (`answered`). `by`: as in events; `when`: microseconds."""

    by: str
    channel: str
    answered: bool
    when: int
    rep: str | None = None
    event_id: str | None = None
    note: str | None = None


def touch(lead: Lead, fact: Touch, rules: RoutingRules, now: int, skew_us: int) -> Outcome:
    """Record a touch. The outcome's `effect` says what it did, or why it did nothing.

    Args:
        skew_us: how far the clock of the sender may be behind, in microseconds.
    """
    when, was, after = min(fact.when, now), lead.status, copied(lead)
    ignored = why_not(lead, when, skew_us, now)
    effect = f"ignored: {ignored}" if ignored else event_time.touch(after, when, answered=fact.answered)
    if ignored is None:
        way = move(rules.lifecycle, was, SYSTEM, when="touched")
        if isinstance(way, Transition):
            changed(after, when)
            set_status(after, way.to, lead.owner)
    event = next_event(
        after,
        TouchApplied,
        at=moment(now),
        was=was,
        by=fact.by if after.status == was else SYSTEM.name,
        channel=fact.channel,
        answered=fact.answered,
        touched_at=moment(when if ignored or lead.submit_at is None else max(when, lead.submit_at)),
        rep=fact.rep,
        event_id=fact.event_id,
        note=fact.note or None,
        ignored=ignored,
    )
    return Outcome(after, (event,), effect=effect)


def consent_given(lead: Lead, rules: RoutingRules, now: int, reason: str, when: int) -> Outcome:
    """The person consented at `when`. Unless they opted out since, the lead goes to the status that the agreement names."""
    when, after = min(when, now), copied(lead)
    to = after_consent(rules.lifecycle, lead.status)
    if not consent(after, when) or to is None:
        return Outcome(after)
    return Outcome(after, (_move(after, to, reason, when, now),))


def consent_withdrawn(lead: Lead, rules: RoutingRules, now: int, reason: str, when: int) -> Outcome | Refused:
    """The person opted out at `when`."""
    return opt_out(lead, SYSTEM, rules, now, reason, min(when, now))


def deal(lead: Lead, rules: RoutingRules, now: int, stage: str, when: int) -> Outcome:
    """The CRM moved the deal at `when`. A stage that is older than the status, or without a transition, is only noted."""
    when, after = min(when, now), copied(lead)
    if not moves_deal(after, stage, when):
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
    was = lead.status
    changed(lead, when)
    set_status(lead, to, lead.owner)
    return next_event(lead, LeadStatusChanged, at=moment(now), was=was, by=SYSTEM.name, reason=reason)
