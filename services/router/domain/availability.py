"""Changes of the availability of a rep: by a command, by the team file, by the end of an absence."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from firsthour.kernel.time_units import moment
from schemas.events.routes import RepAvailabilityChanged
from services.router.domain.lead import at
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence, RepState


class PresenceChange(NamedTuple):
    """The presence of a rep after a change, and the event that publishes it."""

    presence: Presence
    event: RepAvailabilityChanged


def apply_statement(
    rep: str, presence: Presence, now: int, state: RepState, until: int | None, reason: str | None = None
) -> PresenceChange | None:
    """Return the change by a command. None: the availability is in effect already.

    Args:
        until: end of an absence (microseconds). None: open-ended.
    """
    if (presence.state, presence.until, presence.reason) == (state, until, reason):
        return None
    return _change(rep, replace(presence, state=state, until=until, reason=reason), now, state)


def apply_observation(rep: str, presence: Presence, now: int, state: RepState) -> PresenceChange | None:
    """Return the change by the team file or by the end of an absence. None: another router has published it already."""
    if presence.published_state == state:
        return None
    if state == "available":
        presence = replace(presence, state=state, until=None, reason=None)
    return _change(rep, presence, now, state)


def state_of(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> RepState:
    """Return the state of `rep` by the team file and by commands."""
    person, presence = rules.rep(rep), reps.get(rep)
    if person is None or not person.active:
        return "deactivated"
    return presence.as_of(now) if presence else "available"


def _change(rep: str, presence: Presence, now: int, state: RepState) -> PresenceChange:
    after = replace(presence, published_state=state, version=presence.version + 1, updated_at=now)
    event = RepAvailabilityChanged(
        rep=rep, at=moment(now), state=state, until=at(after.until), version=after.version, reason=after.reason
    )
    return PresenceChange(after, event)
