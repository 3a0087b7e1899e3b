"""What people ask for over HTTP, each one unit: applied or already in effect, else a problem that says what is possible."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from firsthour.kernel.plausible_times import is_possible
from firsthour.kernel.time_units import micros
from firsthour.runtime.http.auth import Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.storage.unit import Unit
from services.router import acts
from services.router.domain.event_time import SKEW_US
from services.router.domain.lead import Lead, at
from services.router.domain.lifecycle import Actor, Kind, Refused
from services.router.domain.rules import rules_of
from services.router.queue import peek_queue
from services.router.session import RoutingSession

STATES: Final = ("available", "away", "deactivated")
_STATUS: Final[dict[Kind, tuple[int, str]]] = {
    "status": (409, "Not now"),
    "actor": (403, "Not for you"),
    "reason": (422, "Unknown reason"),
    "rep": (422, "Unknown rep"),
    "until": (422, "Unprocessable Content"),
}
_POINTER: Final[dict[Kind, str]] = {"reason": "#/reason", "rep": "#/rep", "until": "#/until"}

Answer = dict[str, Any]
"""A lead after an action: id, status, owner, epoch, touched_at, and what a touch did."""


def accept(unit: Unit, lead: str, who: Principal) -> Answer:
    """The owner says yes."""
    return _act(unit, lead, who, acts.accept)


def reject(unit: Unit, lead: str, reason: str, who: Principal, until: datetime | None = None) -> Answer:
    """The owner says no; the reason chooses where the lead goes. `until`: before then no score hands it over."""

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Refused | None:
        return acts.reject(session, known, actor, reason, _ahead(session, until))

    return _act(unit, lead, who, act, routes=True)


def recycle(unit: Unit, lead: str, reason: str, who: Principal, until: datetime | None = None) -> Answer:
    """Back to Marketing. `until`: before then no score hands it over."""

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Refused | None:
        return acts.recycle(session, known, actor, reason, until=_ahead(session, until))

    return _act(unit, lead, who, act)


def opt_out(unit: Unit, lead: str, reason: str, who: Principal) -> Answer:
    """The person wants to hear nothing more."""
    return _act(unit, lead, who, lambda session, known, actor: acts.opt_out(session, known, actor, reason))


def assign(unit: Unit, lead: str, rep: str, reason: str | None, force: bool, who: Principal) -> Answer:
    """Give the lead to this rep; `force`: also while they are away or at capacity."""
    return _act(
        unit, lead, who, lambda session, known, actor: acts.assign(session, known, actor, rep, reason, force=force)
    )


def _ahead(session: RoutingSession, until: datetime | None) -> int | None:
    """The time in microseconds. Raise `Problem` 422 when it does not lie ahead."""
    if until is None:
        return None
    if until <= session.now:
        fault = FieldFault(pointer="#/until", detail="lies in the past")
        raise Problem(422, "In the past", "`until` must lie ahead.", [fault])
    return micros(until)


def touch(
    unit: Unit,
    lead: str,
    channel: str,
    answered: bool,
    when: datetime | None,
    who: Principal,
    skew_us: int = SKEW_US,
    note: str | None = None,
) -> Answer:
    """Somebody was in touch, or tried; now, unless `when` says so. Anybody of Sales may say it, of any lead.

    An impossible `when` counts as now. The answer's `effect` says what it did, or why it did nothing. `skew_us`: how far
    `when` may be before the submit.
    """
    effects: list[str] = []

    def act(session: RoutingSession, known: Lead, actor: Actor) -> None:
        session.skew_us = skew_us
        possible = when is not None and is_possible(when, session.now)
        happened = micros(when) if when is not None and possible else session.at
        effect = acts.touch(
            session, known, actor.name, channel=channel, answered=answered, when=happened, rep=actor.rep, note=note
        )
        effects.append(effect if possible or when is None else f"{effect}; `at` was impossible and counts as now")

    return _act(unit, lead, who, act) | {"effect": effects[0]}


def availability(
    unit: Unit, rep: str, state: str, until: datetime | None, who: Principal, reason: str | None = None
) -> Answer:
    """A rep comes, goes for a while (`until`: then they are back by themselves), or for good."""
    session = RoutingSession(unit, ())
    known = session.rules.rep(rep)
    if known is None:
        raise Problem(
            404, "Unknown rep", f"There is no rep {rep!r}; the team is: {', '.join(session.rules.team.rep_by_id)}."
        )
    if not who.may_act_for(rep) or (state == "deactivated" and not who.allows("manager")):
        raise Problem(403, "Not for you", f"The availability of {rep} is for {rep}, managers and admins.")
    if not known.active:
        raise Problem(409, "Named by a file", f"team.yaml says that {rep} is not active; change it there.")
    ends = _ahead(session, until)
    if ends is not None and state != "away":
        fault = FieldFault(pointer="#/until", detail="is for `available: false`")
        raise Problem(422, "Unprocessable Content", "`until` is when an absence ends; leave it out.", [fault])
    presence = acts.available(session, rep, state, ends, reason)
    session.save()
    return {
        "id": rep,
        "state": presence.state,
        "until": at(presence.until),
        "reason": presence.reason,
        "open": presence.open,
    }


def _act(
    unit: Unit,
    id: str,
    who: Principal,
    act: Callable[[RoutingSession, Lead, Actor], Refused | None],
    *,
    routes: bool = False,
) -> Answer:
    session = RoutingSession(unit, [id], peek_queue(unit, rules_of(unit.config)) if routes else None)
    lead = session.leads.get(id)
    if lead is None:
        raise Problem(404, "Unknown lead", f"There is no lead {id!r}.")
    refused = act(session, lead, _actor(who, lead))
    if refused is not None:
        raise _problem(refused, lead)
    session.save()
    return answer(lead)


def answer(lead: Lead) -> Answer:
    """A lead as an action's answer."""
    return {
        "id": lead.id,
        "status": lead.status,
        "owner": lead.owner,
        "epoch": lead.epoch,
        "touched_at": at(lead.touched_at),
    }


def _actor(who: Principal, lead: Lead) -> Actor:
    """What this key may do with this lead, in the agreement's words."""
    teams = frozenset(team for team in ("marketing", "sales") if who.allows(team))
    roles = set(teams)
    if who.allows("manager"):
        roles.add("manager")
    if lead.owner is not None and who.allows("sales") and who.may_act_for(lead.owner):
        roles.add("owner")
    return Actor(who.actor, frozenset(roles), teams or frozenset({"nobody"}), who.rep)


def _problem(refused: Refused, lead: Lead) -> Problem:
    status, title = _STATUS[refused.kind]
    pointer = _POINTER.get(refused.kind)
    faults = [FieldFault(pointer=pointer, detail=refused.remedy)] if pointer else []
    return Problem(
        status,
        title,
        f"{refused.why[0].upper()}{refused.why[1:]}; {refused.remedy}.",
        faults,
        extensions={"lead": answer_of(lead)},
    )


def answer_of(lead: Lead) -> Answer:
    """The lead as it stands, in a refusal."""
    touched = at(lead.touched_at)
    return answer(lead) | {"touched_at": touched.isoformat() if touched else None}
