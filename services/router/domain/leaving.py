"""Steps of actions by which a lead leaves its owner. Each changes the lead in place: a copy made by `copy_of`."""

from firsthour.kernel.time_units import moment
from schemas.agreement.lifecycle import Transition
from schemas.events.routes import LeadRecycled, LeadReleased
from services.router.domain.event_time import note_return
from services.router.domain.lead import Lead, at
from services.router.domain.lifecycle import Actor
from services.router.domain.outcome import Outcome, OwnerRequest, end_assignment, next_event, set_status


def note_declined(lead: Lead, now: int) -> None:
    """Note that the owner had the lead and did not take it."""
    if lead.owner is not None:
        lead.state.declined = {**lead.state.declined, lead.owner: now}
        lead.state.not_again = lead.owner


def release(
    lead: Lead,
    transition: Transition,
    actor: Actor,
    now: int,
    kind: str,
    reason: str,
    next_owner: OwnerRequest,
    note: str | None = None,
) -> Outcome:
    """End the assignment and ask for the next owner. `kind`, `reason` and `note` are published with the event."""
    was, rep = lead.status, lead.owner
    ended = end_assignment(lead, actor.name, f"{kind}: {reason}", now)
    set_status(lead, transition.to, None)
    event = next_event(
        lead, LeadReleased, at=moment(now), was=was, by=actor.name, rep=rep, kind=kind, reason=reason, note=note
    )
    return Outcome(lead, (event,), ended, next_owner)


def return_to_marketing(
    lead: Lead,
    transition: Transition,
    actor: Actor,
    now: int,
    kind: str,
    reason: str,
    since: int,
    until: int | None,
    note: str | None = None,
) -> Outcome:
    """End the assignment and return the lead to Marketing.

    Args:
        since: engagement counts from this time on.
        until: no score hands the lead over before this time. None: as the agreement says.
    """
    was, rep = lead.status, lead.owner
    ended = end_assignment(lead, actor.name, f"{kind}: {reason}", now)
    set_status(lead, transition.to, None)
    lead.state.back = f"{kind}:{reason}"
    lead.state.rests_until = until
    note_return(lead, since)
    event = next_event(
        lead,
        LeadRecycled,
        at=moment(now),
        was=was,
        by=actor.name,
        kind=kind,
        reason=reason,
        rep=rep,
        since=moment(since),
        until=at(until),
        note=note,
    )
    return Outcome(lead, (event,), ended)
