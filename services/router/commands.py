"""Commands of people over HTTP, each one unit: applied or already in effect, else a problem that says what is possible."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from firsthour.kernel.plausible_times import is_possible
from firsthour.kernel.time_units import micros
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.storage.unit import Unit
from services.router.domain import actions, activity, ownership
from services.router.domain.event_time import SKEW_US
from services.router.domain.lead import Lead, at
from services.router.domain.lifecycle import Actor, Kind, Refused
from services.router.domain.outcome import Outcome
from services.router.domain.rules import rules_of
from services.router.domain.team_state import RepState
from services.router.queue import peek_queue
from services.router.session import RoutingSession

_STATUS: Final[dict[Kind, tuple[int, str]]] = {
    "status": (409, "Invalid state"),
    "actor": (403, "Forbidden"),
    "reason": (422, "Unknown reason"),
    "rep": (422, "Unknown rep"),
    "until": (422, "Unprocessable Content"),
}
_POINTER: Final[dict[Kind, str]] = {"reason": "#/reason", "rep": "#/rep", "until": "#/until"}

Answer = dict[str, Any]
"""A lead after an action: id, status, owner, epoch, touched_at, and what a touch did."""


def accept(unit: Unit, lead: str, who: Principal) -> Answer:
    """The owner accepts the lead."""
    return _act(unit, lead, who, lambda session, known, actor: actions.accept(known, actor, session.rules, session.at))


def reject(unit: Unit, lead: str, reason: str, who: Principal, until: datetime | None = None) -> Answer:
    """The owner rejects the lead. The reason decides where it goes. `until`: no score hands it over before."""

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Outcome | Refused:
        return actions.reject(known, actor, session.rules, session.at, reason, _ahead(session, until))

    return _act(unit, lead, who, act, routes=True)


def recycle(unit: Unit, lead: str, reason: str, who: Principal, until: datetime | None = None) -> Answer:
    """Return the lead to Marketing. `until`: no score hands it over before."""

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Outcome | Refused:
        return actions.recycle(known, actor, session.rules, session.at, reason, until=_ahead(session, until))

    return _act(unit, lead, who, act)


def opt_out(unit: Unit, lead: str, reason: str, who: Principal) -> Answer:
    """The person opts out."""

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Outcome | Refused:
        return actions.opt_out(known, actor, session.rules, session.at, reason)

    return _act(unit, lead, who, act)


def assign(unit: Unit, lead: str, rep: str, reason: str | None, force: bool, who: Principal) -> Answer:
    """Give the lead to this rep. `force`: also while they are away or at capacity."""

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Outcome | Refused:
        outcome = ownership.assign(known, actor, session.rules, session.at, rep, reason)
        if isinstance(outcome, Refused) or outcome.next_owner is None:
            return outcome  # before the team is locked
        return ownership.cannot_take(session.rules, session.team.state.reps, rep, session.at, force=force) or outcome

    return _act(unit, lead, who, act)


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
    """Record a touch, at `when` (None: now). Any key of Sales may record it, of any lead.

    The answer's `effect` says what the touch did, or why it did nothing. An impossible `when` counts as now.

    Args:
        skew_us: how far `when` may be before the submit, in microseconds.
    """
    notes: list[str] = []

    def act(session: RoutingSession, known: Lead, actor: Actor) -> Outcome:
        happened = session.at
        if when is not None and is_possible(when, session.now):
            happened = micros(when)
        elif when is not None:
            notes.append("`at` was impossible and counts as now")
        fact = activity.Touch(actor.name, channel, answered, happened, actor.rep, note=note)
        outcome = activity.touch(known, fact, session.rules, session.at, skew_us)
        notes.insert(0, outcome.effect)
        return outcome

    return _act(unit, lead, who, act) | {"effect": "; ".join(notes)}


def availability(
    unit: Unit, rep: str, state: RepState, until: datetime | None, who: Principal, reason: str | None = None
) -> Answer:
    """A rep is available, away (`until`: back by then without a command) or deactivated."""
    session = RoutingSession(unit, ())
    known = session.rules.rep(rep)
    if known is None:
        raise Problem(
            404, "Unknown rep", f"There is no rep {rep!r}; the team is: {', '.join(session.rules.team.rep_by_id)}."
        )
    if not who.may_act_for(rep) or (state == "deactivated" and not who.allows("manager")):
        raise Problem(403, "Forbidden", f"The availability of {rep} is for {rep}, managers and admins.")
    if not known.active:
        raise Problem(409, "Set by team file", f"team.yaml says that {rep} is not active; change it there.")
    ends = _ahead(session, until)
    if ends is not None and state != "away":
        fault = FieldFault(pointer="#/until", detail="is for `available: false`")
        raise Problem(422, "Unprocessable Content", "`until` is the end of an absence; leave it out.", [fault])
    presence = session.team.state_availability(rep, state, ends, reason)
    session.save()
    return {
        "id": rep,
        "state": presence.state,
        "until": at(presence.until),
        "reason": presence.reason,
        "open": presence.open,
    }


def _ahead(session: RoutingSession, until: datetime | None) -> int | None:
    """Return the time in microseconds. Raise `Problem` 422 when it does not lie ahead."""
    if until is None:
        return None
    if until <= session.now:
        fault = FieldFault(pointer="#/until", detail="lies in the past")
        raise Problem(422, "Time in the past", "`until` must lie ahead.", [fault])
    return micros(until)


def _act(
    unit: Unit,
    id: str,
    who: Principal,
    act: Callable[[RoutingSession, Lead, Actor], Outcome | Refused],
    *,
    routes: bool = False,
) -> Answer:
    """Load the lead, decide by `act`, apply and store. `routes`: the lead may be routed, which needs the queue in memory."""
    session = RoutingSession(unit, [id], peek_queue(unit, rules_of(unit.config)) if routes else None)
    lead = session.leads.get(id)
    if lead is None:
        raise Problem(404, "Unknown lead", f"There is no lead {id!r}.")
    refused = session.apply(act(session, lead, _actor(who, lead)))
    if refused is not None:
        raise _problem(refused, lead)
    session.save()
    return answer(session.leads[id])


def answer(lead: Lead) -> Answer:
    """Return a lead as the answer to an action."""
    return {
        "id": lead.id,
        "status": lead.status,
        "owner": lead.owner,
        "epoch": lead.epoch,
        "touched_at": at(lead.touched_at),
    }


def _actor(who: Principal, lead: Lead) -> Actor:
    """Return the roles of this key towards this lead, in the agreement's words."""
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
    """Return a lead as an extension of a problem."""
    touched = at(lead.touched_at)
    return answer(lead) | {"touched_at": touched.isoformat() if touched else None}
