"""The status of a lead set by hand. The agreement's transition decides which action that is. Times are microseconds since the epoch."""

from typing import Final

from schemas.agreement.lifecycle import Transition, Verb
from services.router.domain import actions
from services.router.domain.event_time import note_change
from services.router.domain.lead import ACCEPTED, ASSIGNED, OPTED_OUT, QUALIFIED, Lead
from services.router.domain.leaving import release
from services.router.domain.lifecycle import Actor, Refused, move, possible
from services.router.domain.outcome import BY_RULES, Outcome, change_of_status, copy_of, end_assignment
from services.router.domain.rules import RoutingRules

BY_HAND: Final = "set by hand"
_WAYS: Final[tuple[Verb | None, ...]] = (None, "recycle", "reject", "reassign")
_BY_ITS_SCORE: Final = Refused(
    "a lead is handed over by what the person does", "it happens by a line of `qualify` in the agreement"
)
_WEIGHT: Final = {"reason": 2, "actor": 1}
"""Of several refusals, the one that is nearest to a change is answered."""


def change_status(
    lead: Lead,
    actor: Actor,
    rules: RoutingRules,
    now: int,
    to: str,
    reason: str | None = None,
    until: int | None = None,
) -> Outcome | Refused:
    """Set the status, if a transition of the agreement allows it to this actor.

    Args:
        until: as in `actions.recycle`; only for a lead that goes back to Marketing.
    """
    statuses = rules.lifecycle.statuses
    if to not in statuses:
        return Refused(f"the agreement has no status {to!r}", f"one of: {', '.join(statuses)}", "to")
    if lead.status == to:
        return Outcome(lead)
    if to == ASSIGNED:
        return Refused("a lead gets an owner by the rules or by an assignment", "assign it to a rep instead")
    if to in (ACCEPTED, OPTED_OUT) and until is not None:
        return _no_until(to)
    if to == ACCEPTED:
        return _accepted(lead, actor, rules, now)
    if to == OPTED_OUT:
        return actions.opt_out(lead, actor, rules, now, reason or BY_HAND)
    return _moved(lead, actor, rules, now, to, reason, until)


def _accepted(lead: Lead, actor: Actor, rules: RoutingRules, now: int) -> Outcome | Refused:
    outcome = actions.accept(lead, actor, rules, now)
    if isinstance(outcome, Outcome) and outcome.lead.status != ACCEPTED:
        return Refused(f"a lead that is {lead.status} is accepted already", possible(rules.lifecycle, lead.status))
    return outcome


def _moved(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, to: str, reason: str | None, until: int | None
) -> Outcome | Refused:
    verb, transition = _way(lead, actor, rules, to, reason)
    if isinstance(transition, Refused):
        return transition
    back = rules.lifecycle.statuses[to] == "marketing"
    if until is not None and (verb is None or not back):
        return _no_until(to)
    if verb == "recycle":
        return _reaching(to, actions.recycle(lead, actor, rules, now, reason or BY_HAND, until=until))
    if verb == "reject":
        return _reaching(to, actions.reject(lead, actor, rules, now, reason or BY_HAND, until))
    if verb == "reassign":
        return _waiting(lead, transition, actor, now, reason or BY_HAND)
    return _plain(lead, transition, actor, rules, now, reason)


def _way(
    lead: Lead, actor: Actor, rules: RoutingRules, to: str, reason: str | None
) -> tuple[Verb | None, Transition | Refused]:
    """Return the transition to use, and its verb."""
    refusals = []
    for verb in _WAYS:
        found = move(rules.lifecycle, lead.status, actor, to=to, verb=verb, reason=reason)
        if isinstance(found, Refused):
            refusals.append(found)
        elif verb is not None or to != QUALIFIED:
            return verb, found
        else:
            refusals.append(_BY_ITS_SCORE)
    return None, max(refusals, key=lambda refusal: _WEIGHT.get(refusal.kind, 0))


def _plain(
    lead: Lead, transition: Transition, actor: Actor, rules: RoutingRules, now: int, reason: str | None
) -> Outcome:
    """Set the status. Outside of Sales, a lead has no owner."""
    after = copy_of(lead)
    stays = rules.lifecycle.statuses[transition.to] == "sales"
    ended = None if stays else end_assignment(after, actor.name, f"{transition.to}: {reason or BY_HAND}", now)
    owner = lead.owner if stays else None
    event = change_of_status(after, transition.to, owner, by=actor.name, reason=reason, when=now, now=now)
    return Outcome(after, (event,), ended)


def _waiting(lead: Lead, transition: Transition, actor: Actor, now: int, reason: str) -> Outcome:
    """Give the lead up to the rules. Its owner is passed over once."""
    after = copy_of(lead)
    after.state.not_again = lead.owner
    note_change(after, now)
    return release(after, transition, actor, now, "hand-over", reason, BY_RULES)


def _reaching(to: str, outcome: Outcome | Refused) -> Outcome | Refused:
    """Return the outcome, or a refusal if the reason chooses another transition."""
    if isinstance(outcome, Outcome) and outcome.lead.status != to:
        return Refused(f"this reason leads to {outcome.lead.status}", f"state a reason that leads to {to}", "reason")
    return outcome


def _no_until(to: str) -> Refused:
    return Refused(f"`until` is for a lead that goes back to Marketing, not for {to}", "omit `until`", "until")
