"""Commands over HTTP, each one unit. A refused command is a problem that lists the possible transitions."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from firsthour.kernel.plausible_times import is_possible
from firsthour.kernel.time_units import micros
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.storage.unit import Unit
from services.router.domain import actions, activity, ownership, status_change
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
    "to": (422, "Unknown status"),
}
_POINTER: Final[dict[Kind, str]] = {"reason": "#/reason", "rep": "#/rep", "until": "#/until", "to": "#/status"}

SnoozeCheck = Callable[[Unit, str, int, datetime], datetime | str | None]
"""Returns the end of a snooze of this lead and epoch, or why there is none; None: that is not known yet."""


def unchecked(unit: Unit, lead_id: str, epoch: int, until: datetime) -> None:
    """Do nothing: there are no clocks."""


Answer = dict[str, Any]
"""A lead after an action: id, status, owner, epoch, touched_at, and the effect of a touch."""


def accept(unit: Unit, lead_id: str, principal: Principal) -> Answer:
    """Accept the lead as its owner."""
    return _act(
        unit, lead_id, principal, lambda session, lead, actor: actions.accept(lead, actor, session.rules, session.at)
    )


def reject(unit: Unit, lead_id: str, reason: str, principal: Principal, until: datetime | None = None) -> Answer:
    """Reject the lead as its owner. The reason selects the transition. `until`: no score hands the lead over before."""

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome | Refused:
        return actions.reject(lead, actor, session.rules, session.at, reason, _future(session, until))

    return _act(unit, lead_id, principal, act, routes=True)


def snooze(unit: Unit, lead_id: str, until: datetime, principal: Principal, check: SnoozeCheck = unchecked) -> Answer:
    """Snooze the lead as its owner or their manager. The `effect` of the answer says until when."""
    effect: str | None = None

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome | Refused:
        nonlocal effect
        outcome = actions.snooze(lead, actor, session.rules, session.at, _future(session, until) or session.at)
        if isinstance(outcome, Refused):
            return outcome
        end = check(unit, lead.id, lead.epoch, until)
        if isinstance(end, str):
            return Refused(end.rstrip("."), "nothing was changed")
        effect = f"snoozed until {end or until:%Y-%m-%dT%H:%M:%SZ}"
        return outcome

    answer = _act(unit, lead_id, principal, act)
    return answer | {"effect": effect}


def recycle(unit: Unit, lead_id: str, reason: str, principal: Principal, until: datetime | None = None) -> Answer:
    """Return the lead to Marketing. `until`: no score hands the lead over before."""

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome | Refused:
        return actions.recycle(lead, actor, session.rules, session.at, reason, until=_future(session, until))

    return _act(unit, lead_id, principal, act)


def change_status(
    unit: Unit,
    lead_id: str,
    status: str,
    reason: str | None,
    principal: Principal,
    until: datetime | None = None,
) -> Answer:
    """Set the status of the lead. `until`: of a lead that goes back to Marketing, no score hands it over before."""

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome | Refused:
        ends = _future(session, until)
        return status_change.change_status(lead, actor, session.rules, session.at, status, reason, ends)

    return _act(unit, lead_id, principal, act, routes=True)


def opt_out(unit: Unit, lead_id: str, reason: str, principal: Principal) -> Answer:
    """Record that the person opted out."""

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome | Refused:
        return actions.opt_out(lead, actor, session.rules, session.at, reason)

    return _act(unit, lead_id, principal, act)


def assign(unit: Unit, lead_id: str, rep: str, reason: str | None, force: bool, principal: Principal) -> Answer:
    """Give the lead to this rep. `force`: also if the rep is away or at capacity."""

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome | Refused:
        outcome = ownership.assign(lead, actor, session.rules, session.at, rep, reason)
        if isinstance(outcome, Refused) or outcome.next_owner is None:
            return outcome  # without locking the team
        return ownership.cannot_take(session.rules, session.team.state.reps, rep, session.at, force=force) or outcome

    return _act(unit, lead_id, principal, act)


def touch(
    unit: Unit,
    lead_id: str,
    channel: str,
    answered: bool,
    when: datetime | None,
    principal: Principal,
    skew_us: int = SKEW_US,
    note: str | None = None,
) -> Answer:
    """Record a touch at `when` (None: now). Any key of Sales may record a touch of any lead.

    The `effect` of the answer is the effect of the touch, or why it was ignored. An impossible `when` counts as now.

    Args:
        skew_us: how far `when` may be before the submit, in microseconds.
    """
    notes: list[str] = []

    def act(session: RoutingSession, lead: Lead, actor: Actor) -> Outcome:
        at_us = session.at
        if when is not None and is_possible(when, session.now):
            at_us = micros(when)
        elif when is not None:
            notes.append("`at` was impossible and counts as now")
        fact = activity.Touch(actor.name, channel, answered, at_us, actor.rep, note=note)
        outcome = activity.touch(lead, fact, session.rules, session.at, skew_us)
        notes.insert(0, outcome.effect)
        return outcome

    return _act(unit, lead_id, principal, act) | {"effect": "; ".join(notes)}


def availability(
    unit: Unit, rep: str, state: RepState, until: datetime | None, principal: Principal, reason: str | None = None
) -> Answer:
    """Set the availability of a rep. `until`: the end of an absence. None: a command ends it."""
    session = RoutingSession(unit, ())
    row = session.rules.rep(rep)
    if row is None:
        raise Problem(
            404, "Unknown rep", f"There is no rep {rep!r}; the team is: {', '.join(session.rules.team.rep_by_id)}."
        )
    if not principal.may_act_for(rep) or (state == "deactivated" and not principal.allows("manager")):
        raise Problem(403, "Forbidden", f"The availability of {rep} may be set by {rep}, managers and admins.")
    if not row.active:
        raise Problem(409, "Set by team file", f"{rep} is not active in team.yaml; change it there.")
    ends = _future(session, until)
    if ends is not None and state != "away":
        fault = FieldFault(pointer="#/until", detail="allowed with `available: false` only")
        raise Problem(422, "Unprocessable Content", "`until` is the end of an absence; omit it.", [fault])
    presence = session.team.state_availability(rep, state, ends, reason)
    session.save()
    return {
        "id": rep,
        "state": presence.state,
        "until": at(presence.until),
        "reason": presence.reason,
        "open": presence.open,
    }


def _future(session: RoutingSession, until: datetime | None) -> int | None:
    """Return the time in microseconds. Raise `Problem` 422 if it is not in the future."""
    if until is None:
        return None
    if until <= session.now:
        fault = FieldFault(pointer="#/until", detail="is in the past")
        raise Problem(422, "Time in the past", "`until` is in the past; send a time in the future.", [fault])
    return micros(until)


def _act(
    unit: Unit,
    lead_id: str,
    principal: Principal,
    act: Callable[[RoutingSession, Lead, Actor], Outcome | Refused],
    *,
    routes: bool = False,
) -> Answer:
    """Load the lead, decide by `act`, apply and store. `routes`: the lead may be routed, so the queue is loaded too."""
    session = RoutingSession(unit, [lead_id], peek_queue(unit, rules_of(unit.config)) if routes else None)
    lead = session.leads.get(lead_id)
    if lead is None:
        raise Problem(404, "Unknown lead", f"There is no lead {lead_id!r}.")
    refused = session.apply(act(session, lead, actor_for(principal, lead)))
    if refused is not None:
        raise _problem(refused, lead)
    session.save()
    return answer(session.leads[lead_id])


def answer(lead: Lead) -> Answer:
    """Return a lead as the answer to an action."""
    return {
        "id": lead.id,
        "status": lead.status,
        "owner": lead.owner,
        "epoch": lead.epoch,
        "touched_at": at(lead.touched_at),
    }


def actor_for(principal: Principal, lead: Lead) -> Actor:
    """Return the actor of this key, with the agreement's roles towards this lead."""
    teams = frozenset(team for team in ("marketing", "sales") if principal.allows(team))
    roles = set(teams)
    if principal.allows("manager"):
        roles.add("manager")
    if lead.owner is not None and principal.allows("sales") and principal.may_act_for(lead.owner):
        roles.add("owner")
    return Actor(principal.actor, frozenset(roles), teams or frozenset({"nobody"}), principal.rep)


def _problem(refused: Refused, lead: Lead) -> Problem:
    status, title = _STATUS[refused.kind]
    pointer = _POINTER.get(refused.kind)
    faults = [FieldFault(pointer=pointer, detail=refused.remedy)] if pointer else []
    return Problem(
        status,
        title,
        f"{refused.why[0].upper()}{refused.why[1:]}; {refused.remedy}.",
        faults,
        extensions={"lead": answer(lead)},
    )
