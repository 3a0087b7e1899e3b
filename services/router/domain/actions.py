"""Actions of people and rungs on a lead: `(lead, actor, rules, now, ...) -> Outcome | Refused`, computed from values.

An action that is already in effect has an outcome that changes nothing: it is not refused. Times are microseconds since
the epoch.
"""

from collections.abc import Mapping

from firsthour.kernel.time_units import moment
from schemas.agreement.lifecycle import Transition
from schemas.events import LeadAccepted, LeadOptedOut, LeadRecycled, LeadReleased
from services.router.domain.decision import decide, gather_inputs
from services.router.domain.eligibility import not_here, unavailable
from services.router.domain.event_time import changed, went_back, withdraw
from services.router.domain.lead import ACCEPTED, HELD, OPTED_OUT, QUALIFIED, WORKING, Lead, at
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, move, possible
from services.router.domain.outcome import (
    BY_RULES,
    Outcome,
    OwnerRequest,
    copied,
    end_assignment,
    next_event,
    set_status,
)
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence, TeamState

BY_HAND = "assigned by hand"
TO_MANAGER = "the manager owns it"
NO_OTHER_REP = "no other rep can take it"
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


# --- the owner ----------------------------------------------------------------------------------------------------


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
    _note_declined(after, now)
    if way.to == QUALIFIED:
        return _release(after, way, actor, now, "reject", reason, BY_RULES)
    return _return_to_marketing(after, way, actor, now, "reject", reason, now, until)


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
    return _return_to_marketing(copied(lead), way, actor, now, "recycle", reason, since, until)


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


# --- another owner ------------------------------------------------------------------------------------------------


def reassignment(lead: Lead, actor: Actor, rules: RoutingRules, reason: str) -> Transition | Refused:
    """Return the transition by which an untouched lead leaves its owner. It depends on the lead alone, not on the team."""
    way = move(rules.lifecycle, lead.status, actor, verb="reassign", reason=reason)
    if isinstance(way, Refused):
        return way
    if not lead.untouched or lead.owner is None:
        return Refused("the lead has been touched", "nothing to do")
    return way


def reassign(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, team: TeamState, reason: str, *, told: bool = True
) -> Outcome | Refused:
    """The response time is over without a touch: the next rep gets the lead; after `reassign_at_most`, the manager.

    Args:
        told: whether a page reached the owner. An owner without a page is passed over once and stays eligible later.
    """
    way, owner = reassignment(lead, actor, rules, reason), lead.owner
    if isinstance(way, Refused):
        return way
    request = _after_owner(lead, rules, now, team)
    if request is None:
        return Refused(NO_OTHER_REP, f"{owner} keeps it; give {owner} a manager in team.yaml, or the pool more members")
    after = copied(lead)
    after.state.reassignments += 1
    if told:
        _note_declined(after, now)
    else:
        after.state.not_again = owner
    return _release(after, way, actor, now, "reassign", reason, request)


def assign(lead: Lead, actor: Actor, rules: RoutingRules, now: int, rep: str, reason: str | None) -> Outcome | Refused:
    """Give the lead to `rep`. Whether they can take a lead now is decided by `cannot_take`."""
    if rules.rep(rep) is None:
        return Refused(f"there is no rep {rep!r}", f"one of: {', '.join(rules.team.rep_by_id)}", "rep")
    if lead.owner == rep and lead.status in HELD:
        return Outcome(lead)
    request = OwnerRequest(rep, BY_HAND, reason)
    if lead.status == QUALIFIED:
        if "manager" not in actor.roles:
            return Refused(f"{actor.name} may not assign leads that wait", "it is for: manager", "actor")
        after = copied(lead)
        changed(after, now)
        return Outcome(after, next_owner=request)
    way = move(rules.lifecycle, lead.status, actor, verb="reassign", reason=reason)
    if isinstance(way, Refused):
        return way
    if way.to != QUALIFIED:
        return Refused("the agreement sends a reassigned lead elsewhere", possible(rules.lifecycle, lead.status))
    outcome = _release(copied(lead), way, actor, now, "hand-over", reason or BY_HAND, request)
    changed(outcome.lead, now)
    return outcome


def cannot_take(
    rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int, *, force: bool
) -> Refused | None:
    """Return why `rep` cannot be given a lead now. `force`: absence and capacity do not count."""
    blocked = unavailable(rules, reps, rep, now)
    if blocked is None or (force and blocked != "deactivated"):
        return None
    remedy = "choose a rep who is available" if blocked == "deactivated" else "send force: true to assign it anyway"
    return Refused(f"{rep} cannot take it: {blocked}", remedy)


def take_away(lead: Lead, rules: RoutingRules, now: int) -> Outcome | Refused:
    """The owner has left: the lead is routed again."""
    way = move(rules.lifecycle, lead.status, SYSTEM, verb="reassign")
    if isinstance(way, Refused):
        return way
    return _release(copied(lead), way, SYSTEM, now, "deactivated", f"{lead.owner} has left", BY_RULES)


# --- steps of these actions; each changes the copy that it is given ------------------------------------------------


def _after_owner(lead: Lead, rules: RoutingRules, now: int, team: TeamState) -> OwnerRequest | None:
    """Return the request for the owner after this one: a rep while reassignments are left, else the nearest manager."""
    if lead.state.reassignments < rules.reassign_at_most:
        released = copied(lead)
        released.state.previous_owner, released.state.previous_left_at = lead.owner, now
        released.state.not_again = lead.owner
        released.status, released.owner = QUALIFIED, None
        if decide(gather_inputs(rules, released, team, moment(now))).chosen is not None:
            return BY_RULES
    managers = rules.managers(lead.owner) if lead.owner else ()  # their capacity does not count
    manager = next((rep for rep in managers if not_here(rules, team.reps, rep, now) is None), None)
    return None if manager is None else OwnerRequest(manager, TO_MANAGER)


def _note_declined(lead: Lead, now: int) -> None:
    if lead.owner is not None:
        lead.state.declined = {**lead.state.declined, lead.owner: now}
        lead.state.not_again = lead.owner


def _release(
    lead: Lead, way: Transition, actor: Actor, now: int, kind: str, reason: str, next_owner: OwnerRequest
) -> Outcome:
    was, rep = lead.status, lead.owner
    ended = end_assignment(lead, actor.name, f"{kind}: {reason}", now)
    set_status(lead, way.to, None)
    event = next_event(lead, LeadReleased, at=moment(now), was=was, by=actor.name, rep=rep, kind=kind, reason=reason)
    return Outcome(lead, (event,), ended, next_owner)


def _return_to_marketing(
    lead: Lead, way: Transition, actor: Actor, now: int, kind: str, reason: str, since: int, until: int | None
) -> Outcome:
    was, rep = lead.status, lead.owner
    ended = end_assignment(lead, actor.name, f"{kind}: {reason}", now)
    set_status(lead, way.to, None)
    lead.state.back = f"{kind}:{reason}"
    lead.state.rests_until = until
    went_back(lead, since)
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
    )
    return Outcome(lead, (event,), ended)
