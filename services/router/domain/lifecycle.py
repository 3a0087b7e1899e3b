"""The lifecycle of a lead: the agreement's table of transitions. A transition outside the table cannot happen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.agreement.lifecycle import Lifecycle, Transition, Verb

NOBODY = "nobody"
Kind = Literal["status", "actor", "reason", "rep", "until", "to"]


@dataclass(frozen=True)
class Actor:
    """The author of an action on one lead.

    `roles`: the agreement's roles towards this lead, as `owner` or `manager`. `teams`: the actor may move a lead out of the
    statuses of these teams. An actor without a team is the system, which may move every lead.
    """

    name: str
    roles: frozenset[str]
    teams: frozenset[str] = frozenset()
    rep: str | None = None


_PARTICIPLES: Mapping[Verb, str] = {"reject": "rejected", "recycle": "recycled", "reassign": "reassigned"}
_HOLDERS: Mapping[str, str] = {
    "owner": "its owner",
    "manager": "a manager",
    "marketing": "Marketing",
    "sales": "Sales",
    "system": "FirstHour",
}
"""The roles of the agreement towards a lead, in words."""
SYSTEM = Actor("system", frozenset({"system"}))


@dataclass(frozen=True)
class Refused:
    """A refusal: the reason, the remedy, and the part of the request that is at fault."""

    why: str
    remedy: str
    kind: Kind = "status"


def move(
    lifecycle: Lifecycle,
    status: str,
    actor: Actor,
    *,
    to: str | None = None,
    verb: Verb | None = None,
    reason: str | None = None,
    when: str | None = None,
) -> Transition | Refused:
    """Return the transition out of `status` that `actor` may use, by its target or its verb.

    A transition with a verb is found by its verb only, a transition with a `when` by its `when` only.

    Args:
        to: the status to reach. None: any.
        verb: `reject`, `recycle` or `reassign`.
        reason: chooses among several transitions.
        when: the fact that happened, as `touched`.
    """
    transitions = [
        transition
        for transition in lifecycle.transitions
        if transition.leaves(status)
        and transition.as_ == verb
        and transition.when == when
        and to in (None, transition.to)
    ]
    if not transitions:
        return Refused(f"a lead that is {status} cannot {_change(to, verb)}", possible(lifecycle, status))
    allowed = [transition for transition in transitions if _may(lifecycle, status, transition, actor)]
    if not allowed:
        by = " or ".join(dict.fromkeys(_HOLDERS.get(role, role) for way in transitions for role in way.by))
        return Refused(
            f"only {by} can do this with a lead that is {status}",
            "it happens by itself" if by == "FirstHour" else "ask there",
            "actor",
        )
    return _by_reason(allowed, reason)


def _change(to: str | None, verb: Verb | None) -> str:
    return f"be {_PARTICIPLES[verb]}" if verb else f"become {to}"


def _may(lifecycle: Lifecycle, status: str, transition: Transition, actor: Actor) -> bool:
    if not ("anyone" in transition.by or actor.roles & set(transition.by)):
        return False
    if not actor.teams or lifecycle.statuses.get(transition.to) == NOBODY:  # the system; opting out, which has no fence
        return True
    return lifecycle.statuses.get(status) in actor.teams


def _by_reason(transitions: Collection[Transition], reason: str | None) -> Transition | Refused:
    for transition in transitions:
        if transition.reason and reason in transition.reason:
            return transition
    for transition in transitions:
        if not transition.reason:
            return transition
    reasons = ", ".join(dict.fromkeys(word for transition in transitions for word in transition.reason))
    fault = f"the agreement has no reason {reason!r} here" if reason else "the agreement requires a reason here"
    return Refused(fault, f"one of: {reasons}", "reason")


def possible(lifecycle: Lifecycle, status: str) -> str:
    """Return the transitions out of this status as a text for people."""
    transitions = [
        f"{f'{transition.as_} to {transition.to}' if transition.as_ else transition.to} (by {', '.join(transition.by)})"
        for transition in lifecycle.transitions
        if transition.leaves(status)
    ]
    return (
        f"possible from {status}: {'; '.join(transitions)}" if transitions else f"no transition leads out of {status}"
    )


def statuses_before(lifecycle: Lifecycle, to: str) -> frozenset[str]:
    """Return the statuses from which the system may move a lead to `to`."""
    starts = (status for status in lifecycle.statuses if isinstance(move(lifecycle, status, SYSTEM, to=to), Transition))
    return frozenset(starts)


def after_consent(lifecycle: Lifecycle, status: str) -> str | None:
    """Return the status after a new consent. None: the status stays."""
    transition = move(lifecycle, status, SYSTEM, when="consent.given")
    return transition.to if isinstance(transition, Transition) else None
