"""The events that publish the owner of a lead, or its place in the queue. Each raises the lead's version."""

from datetime import datetime

from firsthour.kernel.time_units import micros, moment
from schemas.events.routes import LeadAssigned, LeadEvent, LeadQueued
from services.router.domain.decision import Decision
from services.router.domain.lead import Lead, at, card
from services.router.domain.lifecycle import SYSTEM
from services.router.domain.outcome import next_event


def assigned(
    lead: Lead, was: str, now: datetime, decision: Decision, decision_id: str, rep_version: int, reason: str | None
) -> LeadEvent:
    """Return the event of a new assignment.

    Args:
        lead: the lead, whose new owner is a rep.
        was: the status before.
        rep_version: the version of the owner's availability.
        reason: the reason of an assignment by hand.
    """
    return next_event(
        lead,
        LeadAssigned,
        at=now,
        was=was,
        by=SYSTEM.name,
        rep=lead.owner,
        decision_id=decision_id,
        urgency=lead.urgency,
        submit_at=moment(lead.submit_at or micros(now)),
        assigned_at=now,
        reassignments=lead.state.reassignments,
        touched_at=at(lead.touched_at),
        rep_version=rep_version,
        pool=decision.pool,
        rule=decision.rule,
        reason=reason,
        card=card(lead),
    )


def queued(lead: Lead, was: str, now: datetime) -> LeadEvent:
    """Return the event of a lead that waits, or waits in another pool. `was`: the status before."""
    return next_event(
        lead,
        LeadQueued,
        at=now,
        was=was,
        by=SYSTEM.name,
        pool=lead.queue_pool,
        reason=lead.queue_reason,
        urgency=lead.urgency,
        submit_at=moment(lead.submit_at or micros(now)),
        card=card(lead),
    )
