"""The actions that an actor may take on a lead now: those that the decisions would apply. Times are microseconds since the epoch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from schemas.agreement.lifecycle import Transition, Verb
from services.router.domain import actions, ownership
from services.router.domain.eligibility import unavailability
from services.router.domain.lead import ACCEPTED, ASSIGNED, OPTED_OUT, QUALIFIED, Lead
from services.router.domain.lifecycle import Actor, Refused
from services.router.domain.outcome import Outcome
from services.router.domain.rules import RoutingRules
from services.router.domain.status_change import change_status
from services.router.domain.team_state import Presence

MINUTE_US: Final = 60 * 1_000_000
_OF_OTHER_ACTIONS: Final = frozenset({ACCEPTED, ASSIGNED, OPTED_OUT, QUALIFIED})
"""The statuses that other actions and the rules set."""
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
    ways = [way for way in rules.lifecycle.transitions if way.leaves(lead.status)]
    for action, verb, act in _RETURNS:
        of_verb = [way for way in ways if way.as_ == verb]
        reasons = _reasons(of_verb, lambda reason, act=act: act(lead, actor, rules, now, reason))  # type: ignore[misc]
        if reasons is not None:
            found.append(PermittedAction(action, reasons))
    choices = tuple(_status_choices(ways, partial(change_status, lead, actor, rules, now)))
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


def _status_choices(
    ways: Sequence[Transition], change: Callable[[str, str], Outcome | Refused]
) -> Iterator[StatusChoice]:
    """Yield each status that no other action reaches, and that would be set."""
    plain = [way for way in ways if way.as_ is None and way.when is None and way.to not in _OF_OTHER_ACTIONS]
    for to in dict.fromkeys(way.to for way in plain):
        reasons = _reasons([way for way in plain if way.to == to], partial(change, to))
        if reasons is not None:
            yield StatusChoice(to, reasons)


def _reasons(ways: Iterable[Transition], act: Callable[[str], Outcome | Refused]) -> tuple[str, ...] | None:
    """Return the reasons of these transitions for which the action would be applied; empty: any. None: it would be refused."""
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
