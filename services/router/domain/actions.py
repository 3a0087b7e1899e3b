"""Actions of people and rungs on a lead: `(lead, actor, rules, now, ...) -> Outcome | Refused`.

The outcome of an action that is in effect already changes nothing. It is no refusal. Times are microseconds since the
epoch. Actions that change the owner are in `ownership`.
"""

from firsthour.kernel.time_units import EPOCH, moment
from schemas.events.routes import LeadAccepted, LeadOptedOut, LeadSnoozed
from schemas.values import duration_text
from services.router.domain.event_time import note_change, note_opt_out, note_return
from services.router.domain.lead import ACCEPTED, ASSIGNED, OPTED_OUT, QUALIFIED, WORKING, Lead
from services.router.domain.leaving import note_declined, release, return_to_marketing
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, move
from services.router.domain.outcome import BY_RULES, Outcome, copy_of, end_assignment, next_event, set_status
from services.router.domain.rules import RoutingRules

SALES = frozenset({"sales"})


def actor_of(rules: RoutingRules, lead: Lead, by: str, *, cover: bool = False) -> Actor:
    """Return the actor of a record by its `by`. A rep has the role of the owner also for leads of reps whom the rep manages.
    A manager of any rep or pool is the manager of a lead without an owner.

    Args:
        cover: the rep was paged as the owner's cover, and has the role of the owner.
    """
    rep = by.removeprefix("rep:") if by.startswith("rep:") else None
    if rep is None:
        return SYSTEM if by == SYSTEM.name else Actor(by, SALES, SALES)
    roles = {"sales"}
    if lead.owner == rep or (cover and lead.owner is not None):
        roles.add("owner")
    elif lead.owner is not None and rep in rules.managers(lead.owner):
        roles |= {"owner", "manager"}
    elif lead.owner is None and rules.is_manager(rep):
        roles.add("manager")
    return Actor(by, frozenset(roles), SALES, rep)


def accept(lead: Lead, actor: Actor, rules: RoutingRules, now: int) -> Outcome | Refused:
    """Accept the lead as its owner."""
    if lead.status in (ACCEPTED, WORKING) and "owner" in actor.roles:
        return _accept_request(lead, actor, now) if lead.state.asked_again and lead.untouched else Outcome(lead)
    transition = move(rules.lifecycle, lead.status, actor, to=ACCEPTED)
    if isinstance(transition, Refused):
        return transition
    after = copy_of(lead)
    note_change(after, now)
    set_status(after, transition.to, lead.owner)
    event = next_event(after, LeadAccepted, at=moment(now), was=lead.status, by=actor.name, rep=lead.owner)
    return Outcome(after, (event,))


def _accept_request(lead: Lead, actor: Actor, now: int) -> Outcome:
    """Accept a further request of an accepted lead. The status stays."""
    after = copy_of(lead)
    after.state.asked_again = False
    event = next_event(after, LeadAccepted, at=moment(now), was=lead.status, by=actor.name, rep=lead.owner)
    return Outcome(after, (event,))


def snooze(lead: Lead, actor: Actor, rules: RoutingRules, now: int, until: int) -> Outcome | Refused:
    """Snooze the lead as its owner or their manager. The lead does not change: the notifier postpones its reminders.

    Args:
        until: after `now`.
    """
    if lead.status not in (ASSIGNED, ACCEPTED) or lead.owner is None:
        return Refused(f"a lead that is {lead.status} cannot be snoozed", "a lead is snoozed before its first touch")
    if not actor.roles & {"owner", "manager"}:
        return Refused("only its owner or a manager can snooze a lead", "ask there", "actor")
    if rules.snooze_us is not None and until - now > rules.snooze_us:
        longest = duration_text(moment(rules.snooze_us) - EPOCH)
        return Refused("the snooze is longer than the agreement allows", f"at most {longest}", "until")
    after = copy_of(lead)
    note_change(after, now)
    at, was, rep = moment(now), lead.status, lead.owner
    return Outcome(
        after, (next_event(after, LeadSnoozed, at=at, was=was, by=actor.name, rep=rep, until=moment(until)),)
    )


def reject(
    lead: Lead,
    actor: Actor,
    rules: RoutingRules,
    now: int,
    reason: str,
    until: int | None = None,
    note: str | None = None,
) -> Outcome | Refused:
    """Reject the lead as its owner. The reason selects the transition: to Marketing, or to another rep.

    Args:
        until: as in `recycle`; only for a reason that returns the lead to Marketing.
    """
    if rejected_already(lead, actor, reason):
        return Outcome(lead)
    transition = move(rules.lifecycle, lead.status, actor, verb="reject", reason=reason)
    if isinstance(transition, Refused):
        return transition
    if transition.to == QUALIFIED and until is not None:
        return Refused(f"{reason!r} sends the lead to the next rep at once", "omit `until`", "until")
    after = copy_of(lead)
    note_declined(after, now)
    if transition.to == QUALIFIED:
        return release(after, transition, actor, now, "reject", reason, BY_RULES, note)
    return return_to_marketing(after, transition, actor, now, "reject", reason, now, until, note)


def rejected_already(lead: Lead, actor: Actor, reason: str) -> bool:
    """Return whether this rejection is in effect: Marketing has the lead for that reason, or the rep declined it already."""
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
    """Return the lead to Marketing, where its score starts again.

    Args:
        when: engagement counts from this time on. None: from now on.
        until: no score hands the lead over before this time. None: as the agreement says.
    """
    if lead.owner is None and lead.state.back == f"recycle:{reason}":
        return Outcome(lead)
    transition = move(rules.lifecycle, lead.status, actor, verb="recycle", reason=reason)
    if isinstance(transition, Refused):
        return transition
    since = now if when is None else when
    return return_to_marketing(copy_of(lead), transition, actor, now, "recycle", reason, since, until)


def opt_out(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, reason: str, when: int | None = None
) -> Outcome | Refused:
    """Record that the person opted out at `when` (None: now). After a later consent only the time is noted."""
    when = now if when is None else when
    after = copy_of(lead)
    if lead.status == OPTED_OUT:
        note_return(after, when)
        note_opt_out(after, when)
        return Outcome(after)
    transition = move(rules.lifecycle, lead.status, actor, to=OPTED_OUT, reason=reason)
    if isinstance(transition, Refused):
        return transition
    if not note_opt_out(after, when):
        return Outcome(after)
    note_return(after, when)
    ended = end_assignment(after, actor.name, f"opt-out: {reason}", now)
    set_status(after, transition.to, None)
    event = next_event(after, LeadOptedOut, at=moment(now), was=lead.status, by=actor.name, reason=reason)
    return Outcome(after, (event,), ended)
