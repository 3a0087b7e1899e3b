"""The actions that an actor may take on a lead now: those that the decisions would apply. Times are microseconds since the epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.agreement.lifecycle import Verb
from services.router.domain import actions, ownership
from services.router.domain.eligibility import unavailability
from services.router.domain.lead import Lead
from services.router.domain.lifecycle import Actor, Refused
from services.router.domain.outcome import Outcome
from services.router.domain.rules import RoutingRules
from services.router.domain.status_change import status_choices
from services.router.domain.team_state import Presence

MINUTE_US: Final = 60 * 1_000_000
UNNAMED: Final = "reason"
"""Stands for a reason where the agreement requires none."""


@dataclass(frozen=True)
class RepChoice:
    """A rep who could get the lead. `blocked`: why only by force; None: at once."""

    rep: str
    name: str
    blocked: str | None


@dataclass(frozen=True)
class StatusChoice:
    """A status that the actor may set. `reasons`: those that the agreement allows; empty: any text, or none."""

    status: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PermittedAction:
    """An action by the last segment of its path.

    Attributes:
        reasons: The reasons that the agreement allows; empty: any text.
        reps: The reps who could get the lead.
        seconds_max: The longest snooze. None: there is no bound.
        statuses: The statuses that no other action reaches.
    """

    action: str
    reasons: tuple[str, ...] = ()
    reps: tuple[RepChoice, ...] = ()
    seconds_max: int | None = None
    statuses: tuple[StatusChoice, ...] = ()


def permitted_actions(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, presences: Mapping[str, Presence]
) -> tuple[PermittedAction, ...]:
    """Return the actions that would change the lead, the most usual first."""
    found: list[PermittedAction] = []
    if "sales" in actor.roles:
        found.append(PermittedAction("touch"))
    if _changes(actions.accept(lead, actor, rules, now)):
        found.append(PermittedAction("accept"))
    if _changes(actions.snooze(lead, actor, rules, now, now + min(rules.snooze_us or MINUTE_US, MINUTE_US))):
        longest = None if rules.snooze_us is None else rules.snooze_us // 1_000_000
        found.append(PermittedAction("snooze", seconds_max=longest))
    for action, verb, act in _RETURNS:
        reasons = _reasons(lead, rules, verb, lambda reason, act=act: act(lead, actor, rules, now, reason))  # type: ignore[misc]
        if reasons is not None:
            found.append(PermittedAction(action, reasons))
    choices = tuple(StatusChoice(*choice) for choice in status_choices(lead, actor, rules, now))
    if choices:
        found.append(PermittedAction("status", statuses=choices))
    reps = _next_owners(lead, actor, rules, now, presences)
    if reps:
        found.append(PermittedAction("assign", reps=reps))
    if _changes(actions.opt_out(lead, actor, rules, now, UNNAMED)):
        found.append(PermittedAction("opt-out"))
    return tuple(found)


_RETURNS: Final[tuple[tuple[str, Verb, Callable[[Lead, Actor, RoutingRules, int, str], Outcome | Refused]], ...]] = (
    ("reject", "reject", actions.reject),
    ("recycle", "recycle", actions.recycle),
)


def _changes(outcome: Outcome | Refused) -> bool:
    return isinstance(outcome, Outcome) and bool(outcome.events)


def _reasons(
    lead: Lead, rules: RoutingRules, verb: Verb, act: Callable[[str], Outcome | Refused]
) -> tuple[str, ...] | None:
    """Return the reasons for which the action would be applied; empty: any. None: the action would be refused."""
    ways = [way for way in rules.lifecycle.transitions if way.as_ == verb and way.leaves(lead.status)]
    named = dict.fromkeys(reason for way in ways for reason in way.reason)
    reasons = tuple(reason for reason in named if _changes(act(reason)))
    if reasons:
        return reasons
    return () if _changes(act(UNNAMED)) else None


def _next_owners(
    lead: Lead, actor: Actor, rules: RoutingRules, now: int, presences: Mapping[str, Presence]
) -> tuple[RepChoice, ...]:
    """Return the active reps other than the owner, the free ones first."""
    others = [rep for rep in rules.team.reps if rep.active and rep.id != lead.owner]
    if not others or isinstance(ownership.assign(lead, actor, rules, now, others[0].id, None), Refused):
        return ()
    choices = [RepChoice(rep.id, rep.name, unavailability(rules, presences, rep.id, now)) for rep in others]
    return tuple(sorted(choices, key=lambda choice: (choice.blocked is not None, choice.name, choice.rep)))
