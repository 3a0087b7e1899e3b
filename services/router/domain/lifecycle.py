"""The lifecycle of a lead is the agreement's table of transitions. A transition that is not in it cannot happen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.agreement.lifecycle import Lifecycle, Transition, Verb

NOBODY = "nobody"
Kind = Literal["status", "actor", "reason", "rep", "until"]


@dataclass(frozen=True)
class Actor:
    """The author of an action on one lead.

    `roles`: in the agreement's words (`owner`, `manager` ...), towards this lead. `teams`: the teams whose statuses the
    actor may move a lead out of. An actor without a team is the system, which may move every lead.
    """

    name: str
    roles: frozenset[str]
    teams: frozenset[str] = frozenset()
    rep: str | None = None


_DONE: Mapping[Verb, str] = {"reject": "rejected", "recycle": "recycled", "reassign": "reassigned"}
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
    ways = [
        way
        for way in lifecycle.transitions
        if way.leaves(status) and way.as_ == verb and way.when == when and to in (None, way.to)
    ]
    if not ways:
        return Refused(f"a lead that is {status} cannot {_asked(to, verb)}", possible(lifecycle, status))
    allowed = [way for way in ways if _may(lifecycle, status, way, actor)]
    if not allowed:
        by = ", ".join(dict.fromkeys(role for way in ways for role in way.by))
        return Refused(f"{actor.name} may not do this to a lead that is {status}", f"it is for: {by}", "actor")
    return _by_reason(allowed, reason)


def _asked(to: str | None, verb: Verb | None) -> str:
    return f"be {_DONE[verb]}" if verb else f"become {to}"


def _may(lifecycle: Lifecycle, status: str, way: Transition, actor: Actor) -> bool:
    if not ("anyone" in way.by or actor.roles & set(way.by)):
        return False
    if not actor.teams or lifecycle.statuses.get(way.to) == NOBODY:  # the system; opting out, which has no fence
        return True
    return lifecycle.statuses.get(status) in actor.teams


def _by_reason(ways: Collection[Transition], reason: str | None) -> Transition | Refused:
    for way in ways:
        if way.reason and reason in way.reason:
            return way
    for way in ways:
        if not way.reason:
            return way
    known = ", ".join(dict.fromkeys(word for way in ways for word in way.reason))
    what = f"the agreement knows no reason {reason!r} here" if reason else "the agreement asks for a reason here"
    return Refused(what, f"one of: {known}", "reason")


def possible(lifecycle: Lifecycle, status: str) -> str:
    """Return what the agreement allows from this status, in words for people."""
    ways = [
        f"{f'{way.as_} to {way.to}' if way.as_ else way.to} (by {', '.join(way.by)})"
        for way in lifecycle.transitions
        if way.leaves(status)
    ]
    return f"from {status} it can go to: {'; '.join(ways)}" if ways else f"nothing leads out of {status}"


def ways_into(lifecycle: Lifecycle, to: str) -> frozenset[str]:
    """Return the statuses out of which the system may move a lead into `to`."""
    starts = (status for status in lifecycle.statuses if isinstance(move(lifecycle, status, SYSTEM, to=to), Transition))
    return frozenset(starts)


def after_consent(lifecycle: Lifecycle, status: str) -> str | None:
    """Return the status after a new consent. None: the status stays."""
    way = move(lifecycle, status, SYSTEM, when="consent.given")
    return way.to if isinstance(way, Transition) else None
