"""Actions of people and rungs on a lead: `(lead, actor, rules, now, ...) -> Outcome | Refused`, computed from values.

An action that is already in effect has an outcome that changes nothing: it is not refused. Times are microseconds since
the epoch.
"""

from firsthour.kernel.time_units import moment
from schemas.events.routes import LeadAccepted, LeadOptedOut
from services.router.domain.event_time import changed, went_back, withdraw
from services.router.domain.lead import ACCEPTED, OPTED_OUT, QUALIFIED, WORKING, Lead
from services.router.domain.leaving import note_declined, release, return_to_marketing
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, move
from services.router.domain.outcome import BY_RULES, Outcome, copied, end_assignment, next_event, set_status
from services.router.domain.rules import RoutingRules

SALES = frozenset({"sales"})


def actor_of(rules: RoutingRules, lead: Lead, by: str) -> Actor:
    """Return the actor behind the `by` of a record: the system, or a rep, who acts also for the reps that they manage."""
    rep = by.removeprefix("rep:") if by.startswith("rep:") else None
    if rep is None:
        return SYSTEM if by == SYSTEM.name else Actor(by, SALES, SALES)
    roles = {"sales"}
    if lead.owner == rep:
        roles.add("owner")
    elif lead.owner is not None and rep in rules.managers(lead.owner):
        roles |= {"owner", "manager"}
    return Actor(by, frozenset(roles), SALES, rep)


def accept(lead: Lead, actor: Actor, rules: RoutingRules, now: int) -> Outcome | Refused:
    """The owner accepts the lead."""
    if lead.status in (ACCEPTED, WORKING) and "owner" in actor.roles:
        return Outcome(lead)
    way = move(rules.lifecycle, lead.status, actor, to=ACCEPTED)
    if isinstance(way, Refused):
        return way
    after = copied(lead)
    changed(after, now)
    set_status(after, way.to, lead.owner)
    event = next_event(after, LeadAccepted, at=moment(now), was=lead.status, by=actor.name, rep=lead.owner)
    return Outcome(after, (event,))


def reject(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, reason: str, until: int | None = None
) -> Outcome | Refused:
    """The owner rejects the lead. The reason decides: back to Marketing (`until`: see `recycle`), or on to another rep."""
    if rejected_already(lead, actor, reason):
        return Outcome(lead)
    way = move(rules.lifecycle, lead.status, actor, verb="reject", reason=reason)
    if isinstance(way, Refused):
        return way
    if way.to == QUALIFIED and until is not None:
        return Refused(f"{reason!r} sends the lead on to the next rep at once", "leave `until` out", "until")
    after = copied(lead)
    note_declined(after, now)
    if way.to == QUALIFIED:
        return release(after, way, actor, now, "reject", reason, BY_RULES)
    return return_to_marketing(after, way, actor, now, "reject", reason, now, until)


def rejected_already(lead: Lead, actor: Actor, reason: str) -> bool:
    """Return whether this rejection is in effect: the lead is with Marketing for that reason, or has left this rep."""
    if lead.owner is None and lead.state.back == f"reject:{reason}":
        return True
    if actor.rep is None or "owner" in actor.roles:
        return False
    return lead.state.declined.get(actor.rep, -1) >= (lead.submit_at or 0)


def recycle(
    lead: Lead,
    actor: Actor,
    rules: RoutingRules,
    now: int,
    reason: str,
    when: int | None = None,
    until: int | None = None,
) -> Outcome | Refused:
    """Return the lead to Marketing, to start again.

    Args:
        when: engagement counts from this time on. None: from now on.
        until: no score hands the lead over before this time. None: as the agreement says.
    """
    if lead.owner is None and lead.state.back == f"recycle:{reason}":
        return Outcome(lead)
    way = move(rules.lifecycle, lead.status, actor, verb="recycle", reason=reason)
    if isinstance(way, Refused):
        return way
    since = now if when is None else when
    return return_to_marketing(copied(lead), way, actor, now, "recycle", reason, since, until)


def opt_out(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, reason: str, when: int | None = None
) -> Outcome | Refused:
    """The person opted out at `when` (None: now). A later consent outweighs it; then only the time is noted."""
    when = now if when is None else when
    after = copied(lead)
    if lead.status == OPTED_OUT:
        went_back(after, when)
        withdraw(after, when)
        return Outcome(after)
    way = move(rules.lifecycle, lead.status, actor, to=OPTED_OUT, reason=reason)
    if isinstance(way, Refused):
        return way
    if not withdraw(after, when):
        return Outcome(after)
    went_back(after, when)
    ended = end_assignment(after, actor.name, f"opt-out: {reason}", now)
    set_status(after, way.to, None)
    event = next_event(after, LeadOptedOut, at=moment(now), was=lead.status, by=actor.name, reason=reason)
    return Outcome(after, (event,), ended)
