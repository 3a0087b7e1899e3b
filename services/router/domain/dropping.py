"""The drop of a burst: its leads leave Sales by a transition of the agreement."""

from typing import Final

from schemas.agreement.lifecycle import Transition
from services.router.domain.lead import QUALIFIED, Lead
from services.router.domain.lifecycle import Actor, Refused, move
from services.router.domain.outcome import Outcome, change_of_status, copy_of
from services.router.domain.rules import RoutingRules

_ROLES: Final = frozenset({"sales", "manager"})
_TEAMS: Final = frozenset({"sales"})
_MISSING: Final = Refused(
    "the agreement lets no manager return a lead that waits to Marketing",
    "add `{from: qualified, to: disqualified, by: manager, reason: [spam]}` to `lifecycle.transitions`",
)


def way_out(rules: RoutingRules, by: str, reason: str) -> Transition | Refused:
    """Return the transition by which a manager drops a lead that waits: the first one to a status of Marketing."""
    actor, lifecycle = Actor(by, _ROLES, _TEAMS), rules.lifecycle
    refused = _MISSING
    for transition in lifecycle.transitions:
        plain = transition.as_ is None and transition.when is None
        if not (plain and transition.leaves(QUALIFIED) and lifecycle.statuses.get(transition.to) == "marketing"):
            continue
        found = move(lifecycle, QUALIFIED, actor, to=transition.to, reason=reason)
        if isinstance(found, Transition):
            return found
        refused = found if found.kind == "reason" else refused
    return refused


def drop(lead: Lead, rules: RoutingRules, now: int, burst: str, by: str, reason: str) -> Outcome | Refused:
    """Return the lead, which waits for an owner, to Marketing. Its clock ends."""
    transition = way_out(rules, by, reason) if lead.status == QUALIFIED else _MISSING
    if isinstance(transition, Refused):
        return transition
    after = copy_of(lead)
    why = f"{reason}: burst {burst} was dropped"
    event = change_of_status(after, transition.to, None, by=by, reason=why, when=now, now=now)
    return Outcome(after, (event,))
