"""The availability of a rep: what a command, the team file or the end of an absence make of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from firsthour.kernel.time_units import moment
from schemas.events.routes import RepAvailabilityChanged
from services.router.domain.lead import at
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence, RepState


class PresenceChange(NamedTuple):
    """The presence of a rep after a change, and the event that publishes it."""

    presence: Presence
    event: RepAvailabilityChanged


def stated(
    rep: str, presence: Presence, now: int, state: RepState, until: int | None, reason: str | None = None
) -> PresenceChange | None:
    """A command states that `rep` is available, away (`until`: back by then) or deactivated. None: already in effect."""
    if (presence.state, presence.until, presence.reason) == (state, until, reason):
        return None
    return _change(rep, replace(presence, state=state, until=until, reason=reason), now, state)


def observed(rep: str, presence: Presence, now: int, state: RepState) -> PresenceChange | None:
    """The team file or the end of an absence changed the state. None: another router has published it already."""
    if presence.said == state:
        return None
    if state == "available":
        presence = replace(presence, state=state, until=None, reason=None)
    return _change(rep, presence, now, state)


def state_of(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> RepState:
    """Return the state of `rep` by the team file and by what was stated."""
    known, presence = rules.rep(rep), reps.get(rep)
    if known is None or not known.active:
        return "deactivated"
    return presence.as_of(now) if presence else "available"


def _change(rep: str, presence: Presence, now: int, state: RepState) -> PresenceChange:
    after = replace(presence, said=state, version=presence.version + 1, updated_at=now)
    event = RepAvailabilityChanged(
        rep=rep, at=moment(now), state=state, until=at(after.until), version=after.version, reason=after.reason
    )
    return PresenceChange(after, event)
