"""What people, rungs and reports do to a lead. Each act is applied to a session, or refused with a reason and a remedy.

An act already in effect is applied: it changes nothing and is not refused.
"""

from msgspec.structs import replace

from firsthour.kernel.time_units import moment
from schemas.agreement.lifecycle import Transition
from schemas.events import (
    LeadAccepted,
    LeadOptedOut,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    RepAvailabilityChanged,
    TouchApplied,
)
from services.router.domain import event_time
from services.router.domain.decision import decide, manual_inputs
from services.router.domain.eligibility import not_here, unavailable
from services.router.domain.event_time import changed, consent, moves_deal, went_back, why_not, withdraw
from services.router.domain.lead import (
    ACCEPTED,
    CUSTOMER,
    HELD,
    OPPORTUNITY,
    OPTED_OUT,
    QUALIFIED,
    WORKING,
    Lead,
    at,
)
from services.router.domain.lifecycle import SYSTEM, Actor, Refused, after_consent, move, possible
from services.router.domain.team_state import Presence
from services.router.session import TEAM_TICK, RoutingSession

BY_HAND = "assigned by hand"
TO_MANAGER = "the manager owns it"
NOBODY_ELSE = "nobody else can take it"
TEAM_OF_MANAGERS = frozenset({"marketing", "sales"})
TEAM_OF_REPS = frozenset({"sales"})


def somebody(session: RoutingSession, lead: Lead | None, by: str) -> Actor:
    """Who stands behind the `by` of a record: the system, or a rep, who acts for themselves and whom they manage."""
    rep = by.removeprefix("rep:") if by.startswith("rep:") else None
    if rep is None:
        return SYSTEM if by == SYSTEM.name else Actor(by, frozenset({"sales"}), TEAM_OF_REPS)
    owner = lead.owner if lead else None
    roles = {"sales"}
    if owner == rep:
        roles.add("owner")
    elif owner is not None and rep in session.rules.managers(owner):
        roles |= {"owner", "manager"}
    return Actor(by, frozenset(roles), TEAM_OF_REPS, rep)


# --- the owner ----------------------------------------------------------------------------------------------------


def accept(session: RoutingSession, lead: Lead, actor: Actor) -> Refused | None:
    """The owner says yes."""
    if lead.status in (ACCEPTED, WORKING) and "owner" in actor.roles:
        return None
    way = move(session.rules.lifecycle, lead.status, actor, to=ACCEPTED)
    if isinstance(way, Refused):
        return way
    was = lead.status
    changed(lead, session.at)
    session.set_status(lead, way.to, lead.owner)
    session.emit(lead, LeadAccepted, was=was, by=actor.name, rep=lead.owner)
    return None


def reject(session: RoutingSession, lead: Lead, actor: Actor, reason: str, until: int | None = None) -> Refused | None:
    """The owner says no. The reason chooses: back to Marketing (`until`: see `_back`), or on to the next rep, never the
    same."""
    if rejected_already(lead, actor, reason):
        return None
    way = move(session.rules.lifecycle, lead.status, actor, verb="reject", reason=reason)
    if isinstance(way, Refused):
        return way
    if way.to == QUALIFIED and until is not None:
        return Refused(f"{reason!r} sends the lead on to the next rep at once", "leave `until` out", "until")
    _declined(session, lead)
    if way.to == QUALIFIED:
        _release(session, lead, way, actor, "reject", reason)
        session.route(lead)
    else:
        _back(session, lead, way, actor, "reject", reason, session.at, until)
    return None


def rejected_already(lead: Lead, actor: Actor, reason: str) -> bool:
    """This rejection is in effect: the lead is back with Marketing for that reason, or has left this rep."""
    if lead.owner is None and lead.state.back == f"reject:{reason}":
        return True
    if actor.rep is None or "owner" in actor.roles:
        return False
    return lead.state.declined.get(actor.rep, -1) >= (lead.submit_at or 0)


def recycle(
    session: RoutingSession, lead: Lead, actor: Actor, reason: str, when: int | None = None, until: int | None = None
) -> Refused | None:
    """Back to Marketing, to start again: engagement counts from `when` on; None: from now on. `until`: see `_back`."""
    if lead.owner is None and lead.state.back == f"recycle:{reason}":
        return None
    way = move(session.rules.lifecycle, lead.status, actor, verb="recycle", reason=reason)
    if isinstance(way, Refused):
        return way
    _back(session, lead, way, actor, "recycle", reason, session.at if when is None else when, until)
    return None


def _declined(session: RoutingSession, lead: Lead) -> None:
    if lead.owner is not None:
        lead.state.declined[lead.owner] = session.at
        lead.state.not_again = lead.owner


def _release(session: RoutingSession, lead: Lead, way: Transition, actor: Actor, kind: str, reason: str) -> None:
    was, rep = lead.status, lead.owner
    session.close(lead, actor.name, f"{kind}: {reason}")
    session.set_status(lead, way.to, None)
    session.emit(lead, LeadReleased, was=was, by=actor.name, rep=rep, kind=kind, reason=reason)


def _back(
    session: RoutingSession,
    lead: Lead,
    way: Transition,
    actor: Actor,
    kind: str,
    reason: str,
    when: int,
    until: int | None,
) -> None:
    """Return the lead to Marketing. Before `until` no score hands it over; None: as the agreement says."""
    was, rep = lead.status, lead.owner
    if rep is not None:
        session.close(lead, actor.name, f"{kind}: {reason}")
    session.set_status(lead, way.to, None)
    lead.state.back = f"{kind}:{reason}"
    lead.state.rests_until = until
    went_back(lead, when)
    session.emit(
        lead,
        LeadRecycled,
        was=was,
        by=actor.name,
        kind=kind,
        reason=reason,
        rep=rep,
        since=moment(when),
        until=at(until),
    )


# --- touches ------------------------------------------------------------------------------------------------------


def touch(
    session: RoutingSession,
    lead: Lead,
    by: str,
    *,
    channel: str,
    answered: bool,
    when: int,
    rep: str | None = None,
    event_id: str | None = None,
    note: str | None = None,
) -> str:
    """Record an attempt or a conversation. A fact: never refused. Return what it did, or why it did nothing.

    `when` is in microseconds; a time to come counts as now.
    """
    when = min(when, session.at)
    was = lead.status
    ignored = why_not(lead, when, session.skew_us, session.at)
    effect = f"ignored: {ignored}" if ignored else event_time.touch(lead, when, answered=answered)
    if ignored is None:
        way = move(session.rules.lifecycle, lead.status, SYSTEM, when="touched")
        if isinstance(way, Transition):
            changed(lead, when)
            session.set_status(lead, way.to, lead.owner)
    session.emit(
        lead,
        TouchApplied,
        was=was,
        by=by if lead.status == was else SYSTEM.name,
        channel=channel,
        answered=answered,
        touched_at=moment(when if ignored or lead.submit_at is None else max(when, lead.submit_at)),
        rep=rep,
        event_id=event_id,
        note=note or None,
        ignored=ignored,
    )
    return effect


# --- changing hands -----------------------------------------------------------------------------------------------


def reassign(session: RoutingSession, lead: Lead, actor: Actor, reason: str, *, told: bool = True) -> Refused | None:
    """Nobody was in touch in time: the next rep gets it; after the agreed number of times, the manager owns it. An owner
    who was never `told` of the lead is passed over this once and not barred from it."""
    way = move(session.rules.lifecycle, lead.status, actor, verb="reassign", reason=reason)
    if isinstance(way, Refused):
        return way
    owner = lead.owner
    if not lead.untouched or owner is None:
        return Refused("somebody has been in touch", "nothing to do")
    session.serve()
    next_rep = None
    if lead.state.reassignments < session.rules.reassign_at_most:
        next_rep = session.choose(_as_released(lead, owner, session.at))[0].chosen
    manager = _manager(session, owner) if next_rep is None else None
    if next_rep is None and manager is None:
        return Refused(NOBODY_ELSE, f"{owner} keeps it; give {owner} a manager in team.yaml, or the pool more members")
    lead.state.reassignments += 1
    if told:
        _declined(session, lead)
    else:
        lead.state.not_again = owner
    _release(session, lead, way, actor, "reassign", reason)
    if manager is None:
        session.route(lead)
    else:
        _offer(session, lead, TO_MANAGER, manager)
    return None


def _as_released(lead: Lead, owner: str, now: int) -> Lead:
    """The lead as it will be once `owner` has lost it, to see beforehand who would be next."""
    state = replace(lead.state, previous_owner=owner, previous_left_at=now, not_again=owner)
    return replace(lead, status=QUALIFIED, owner=None, state=state)


def _manager(session: RoutingSession, owner: str) -> str | None:
    """The nearest manager who is here. Their capacity is not asked."""
    above = session.rules.managers(owner)
    return next(
        (rep for rep in above if not_here(session.rules, session.team_state.reps, rep, session.at) is None), None
    )


def _offer(session: RoutingSession, lead: Lead, rule: str, rep: str, reason: str | None = None) -> None:
    inputs = manual_inputs(lead, session.now, rule, rep)
    session.assign(lead, decide(inputs), inputs, reason)


def assign(
    session: RoutingSession, lead: Lead, actor: Actor, rep: str, reason: str | None, *, force: bool
) -> Refused | None:
    """Give the lead to this rep. `force`: also while they are away or at capacity."""
    if session.rules.rep(rep) is None:
        return Refused(f"there is no rep {rep!r}", f"one of: {', '.join(session.rules.team.rep_by_id)}", "rep")
    if lead.owner == rep and lead.status in HELD:
        return None
    if lead.status == QUALIFIED and "manager" not in actor.roles:
        return Refused(f"{actor.name} may not hand out leads that wait", "it is for: manager", "actor")
    if lead.status != QUALIFIED:
        way = move(session.rules.lifecycle, lead.status, actor, verb="reassign", reason=reason)
        if isinstance(way, Refused):
            return way
        if way.to != QUALIFIED:
            return Refused(
                "the agreement sends a reassigned lead elsewhere", possible(session.rules.lifecycle, lead.status)
            )
    else:
        way = None
    blocked = unavailable(session.rules, session.team_state.reps, rep, session.at)
    if blocked is not None and (blocked == "deactivated" or not force):
        remedy = "choose somebody who is here" if blocked == "deactivated" else "send force: true to do it nevertheless"
        return Refused(f"{rep} cannot take it: {blocked}", remedy)
    if way is not None:
        _release(session, lead, way, actor, "hand-over", reason or BY_HAND)
    changed(lead, session.at)
    _offer(session, lead, BY_HAND, rep, reason)
    return None


def take_away(session: RoutingSession, lead: Lead) -> bool:
    """The owner is gone: the lead is routed anew. False when the agreement has no way for that."""
    way = move(session.rules.lifecycle, lead.status, SYSTEM, verb="reassign")
    if isinstance(way, Refused) or lead.owner is None:
        return False
    _release(session, lead, way, SYSTEM, "deactivated", f"{lead.owner} is gone")
    session.route(lead)
    return True


# --- the person and the CRM ---------------------------------------------------------------------------------------


def opt_out(session: RoutingSession, lead: Lead, actor: Actor, reason: str, when: int | None = None) -> Refused | None:
    """The person wants to hear nothing more, since `when` (None: now), unless they gave consent later."""
    when = session.at if when is None else when
    if lead.status == OPTED_OUT:
        went_back(lead, when)
        withdraw(lead, when)
        session.change(lead)
        return None
    way = move(session.rules.lifecycle, lead.status, actor, to=OPTED_OUT, reason=reason)
    if isinstance(way, Refused):
        return way
    was = lead.status
    session.change(lead)
    if not withdraw(lead, when):
        return None
    went_back(lead, when)
    if lead.owner is not None:
        session.close(lead, actor.name, f"opt-out: {reason}")
    session.set_status(lead, way.to, None)
    session.emit(lead, LeadOptedOut, was=was, by=actor.name, reason=reason)
    return None


def consent_again(session: RoutingSession, lead: Lead, reason: str, when: int) -> None:
    """The person consented at `when`: unless they opted out since, the lead goes where the agreement says, if it says."""
    session.change(lead)
    to = after_consent(session.rules.lifecycle, lead.status)
    if consent(lead, when) and to is not None:
        _moved(session, lead, to, reason, when)


def opportunity(session: RoutingSession, lead: Lead, stage: str, when: int) -> None:
    """The CRM moved the deal at `when`. A stage older than the state, or that the agreement has no way for, is only noted."""
    session.change(lead)
    if not moves_deal(lead, stage, when):
        return
    if stage == "lost":
        recycle(session, lead, SYSTEM, stage, when)
        return
    ends = (CUSTOMER, OPPORTUNITY) if stage == "won" else (OPPORTUNITY,)
    for end in ends:
        if _may_move(session, lead, end):
            _moved(session, lead, end, stage, when)
            break
    if stage == "won" and lead.status == OPPORTUNITY and _may_move(session, lead, CUSTOMER):
        _moved(session, lead, CUSTOMER, stage, when)


def _may_move(session: RoutingSession, lead: Lead, to: str) -> bool:
    return isinstance(move(session.rules.lifecycle, lead.status, SYSTEM, to=to), Transition)


def _moved(session: RoutingSession, lead: Lead, to: str, reason: str, when: int) -> None:
    was = lead.status
    changed(lead, when)
    session.set_status(lead, to, lead.owner)
    session.emit(lead, LeadStatusChanged, was=was, by=SYSTEM.name, reason=reason)


# --- reps ---------------------------------------------------------------------------------------------------------


def available(session: RoutingSession, rep: str, state: str, until: int | None, reason: str | None = None) -> Presence:
    """A rep comes, goes for a while, or goes for good (then their open leads are routed anew, soon after)."""
    presence = session.presence(rep)
    if (presence.state, presence.until, presence.reason) == (state, until, reason):
        return presence
    presence.state, presence.until, presence.reason = state, until, reason
    _say(session, rep, presence, state)
    if state == "deactivated":
        session.unit.wake(TEAM_TICK)
    return presence


def noticed(session: RoutingSession, rep: str, state: str) -> None:
    """A rep is here or gone, by the team file or because an absence has ended."""
    presence = session.presence(rep)
    if presence.said == state:  # another router has noticed too, and was first at the lock
        return
    if state == "available":
        presence.state, presence.until, presence.reason = state, None, None
    _say(session, rep, presence, state)


def _say(session: RoutingSession, rep: str, presence: Presence, state: str) -> None:
    presence.said, presence.version = state, presence.version + 1
    event = RepAvailabilityChanged(
        rep=rep,
        at=session.now,
        state=state,  # type: ignore[arg-type]  # one of three words
        until=at(presence.until),
        version=presence.version,
        reason=presence.reason,
    )
    session.unit.emit(event, key=rep)
    if state == "available":
        session.free_capacity()
