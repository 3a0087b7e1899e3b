"""Actions that change the owner of a lead, of the same shape as `actions`. Times are microseconds since the epoch."""

from collections.abc import Mapping

from firsthour.kernel.time_units import moment
from schemas.agreement.lifecycle import Transition
from services.router.domain.decision import decide, gather_inputs
from services.router.domain.eligibility import absence, unavailability
from services.router.domain.event_time import note_change
from services.router.domain.lead import HELD, QUALIFIED, Lead
from services.router.domain.leaving import note_declined, release
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, move, possible
from services.router.domain.outcome import BY_RULES, Outcome, OwnerRequest, copy_of
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence, TeamState

BY_HAND = "assigned by hand"
TO_MANAGER = "the manager owns it"
NO_OTHER_REP = "no other rep can take the lead"


def reassignment(lead: Lead, actor: Actor, rules: RoutingRules, reason: str) -> Transition | Refused:
    """Return the transition by which an untouched lead leaves its owner. It does not depend on the team."""
    transition = move(rules.lifecycle, lead.status, actor, verb="reassign", reason=reason)
    if isinstance(transition, Refused):
        return transition
    if not lead.untouched or lead.owner is None:
        return Refused("the lead has been touched", "nothing to do")
    return transition


def reassign(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, team: TeamState, reason: str, *, told: bool = True
) -> Outcome | Refused:
    """Give a lead whose response time ended without a touch to the next rep; after `reassign_at_most`, to the manager.

    Args:
        told: whether a page reached the owner. An owner without a page is passed over once and is eligible again later.
    """
    transition, owner = reassignment(lead, actor, rules, reason), lead.owner
    if isinstance(transition, Refused):
        return transition
    request = _after_owner(lead, rules, now, team)
    if request is None:
        return Refused(
            NO_OTHER_REP, f"{owner} keeps the lead; give {owner} a manager in team.yaml, or the pool more members"
        )
    after = copy_of(lead)
    after.state.reassignments += 1
    if told:
        note_declined(after, now)
    else:
        after.state.not_again = owner
    return release(after, transition, actor, now, "reassign", reason, request)


def assign(lead: Lead, actor: Actor, rules: RoutingRules, now: int, rep: str, reason: str | None) -> Outcome | Refused:
    """Give the lead to `rep`. `cannot_take` decides whether the rep can take a lead now."""
    if rules.rep(rep) is None:
        return Refused(f"there is no rep {rep!r}", f"one of: {', '.join(rules.team.rep_by_id)}", "rep")
    if lead.owner == rep and lead.status in HELD:
        return Outcome(lead)
    request = OwnerRequest(rep, BY_HAND, reason)
    if lead.status == QUALIFIED:
        if "manager" not in actor.roles:
            return Refused("only a manager can assign a lead that waits", "ask there", "actor")
        after = copy_of(lead)
        note_change(after, now)
        return Outcome(after, next_owner=request)
    transition = move(rules.lifecycle, lead.status, actor, verb="reassign", reason=reason)
    if isinstance(transition, Refused):
        return transition
    if transition.to != QUALIFIED:
        return Refused("the agreement sends a reassigned lead elsewhere", possible(rules.lifecycle, lead.status))
    outcome = release(copy_of(lead), transition, actor, now, "hand-over", reason or BY_HAND, request)
    note_change(outcome.lead, now)
    return outcome


def cannot_take(
    rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int, *, force: bool
) -> Refused | None:
    """Return why `rep` cannot get a lead now. `force`: regardless of absence and capacity."""
    blocked = unavailability(rules, reps, rep, now)
    if blocked is None or (force and blocked != "deactivated"):
        return None
    remedy = (
        "choose a rep who is available" if blocked == "deactivated" else "send force: true to assign the lead anyway"
    )
    return Refused(f"{rep} cannot take the lead: {blocked}", remedy)


def reroute(lead: Lead, rules: RoutingRules, now: int) -> Outcome | Refused:
    """Route the lead of a deactivated owner again."""
    transition = move(rules.lifecycle, lead.status, SYSTEM, verb="reassign")
    if isinstance(transition, Refused):
        return transition
    return release(copy_of(lead), transition, SYSTEM, now, "deactivated", f"{lead.owner} has left", BY_RULES)


def _after_owner(lead: Lead, rules: RoutingRules, now: int, team: TeamState) -> OwnerRequest | None:
    """Return the request for the owner after this one: a rep while reassignments are left, else the nearest manager."""
    if lead.state.reassignments < rules.reassign_at_most:
        released = copy_of(lead)
        released.state.previous_owner, released.state.previous_left_at = lead.owner, now
        released.state.not_again = lead.owner
        released.status, released.owner = QUALIFIED, None
        if (
            decide(gather_inputs(rules, released, team.without(lead.source, lead.owner), moment(now))).chosen
            is not None
        ):
            return BY_RULES
    managers = rules.managers(lead.owner) if lead.owner else ()  # regardless of their capacity
    manager = next((rep for rep in managers if absence(rules, team.reps, rep, now) is None), None)
    return None if manager is None else OwnerRequest(manager, TO_MANAGER)
