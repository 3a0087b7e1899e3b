"""The outcome of an action on a lead: the lead afterwards, the events to emit, the request for the next owner."""

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from firsthour.kernel.time_units import moment
from schemas.events.routes import LeadEvent, LeadStatusChanged
from services.router.domain.event_time import note_change
from services.router.domain.lead import BEHIND, Lead


class AssignmentEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of the open assignment of a lead: the actor and the reason."""

    by: str
    reason: str


class OwnerRequest(msgspec.Struct, frozen=True, gc=False):
    """A request for the next owner. `rep` None: the routing rules choose the rep; if they find none, the lead waits."""

    rep: str | None = None
    rule: str = ""  # stored as the rule of the decision when `rep` is given
    reason: str | None = None  # the reason of an assignment by hand; None: none was stated


BY_RULES: Final = OwnerRequest()


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The effects of an action. If `lead` is the same object as before the action, the action was in effect already."""

    lead: Lead  # afterwards, without the next owner
    events: tuple[LeadEvent, ...] = ()  # in the order of their versions
    ended: AssignmentEnd | None = None  # None: the open assignment, if any, goes on
    next_owner: OwnerRequest | None = None  # None: the owner stays as in `lead`
    effect: str = ""  # of a touch: its effect, or why it was ignored, as a text for people; empty: not a touch


# The functions below change the lead in place. Callers pass a copy made by `copy_of`; it becomes `Outcome.lead`.


def copy_of(lead: Lead) -> Lead:
    """Return a copy of `lead` whose fields and state can be set. Dictionaries are shared: replace, never change them."""
    return replace(lead, state=replace(lead.state))


def set_status(lead: Lead, status: str, owner: str | None) -> None:
    """Set status and owner. The lead leaves the queue, and without an owner also its pool."""
    lead.status, lead.owner = status, owner
    lead.queue_pool = lead.queue_reason = lead.queue_since = None
    lead.urgency_rank %= BEHIND
    if owner is None:
        lead.pool = None


def end_assignment(lead: Lead, by: str, reason: str, now: int) -> AssignmentEnd | None:
    """Store the owner as the previous owner, and return the end of the open assignment. None: the lead has no owner."""
    if lead.owner is None:
        return None
    lead.state.previous_owner, lead.state.previous_left_at = lead.owner, now
    return AssignmentEnd(by, reason)


def next_event(lead: Lead, kind: type[LeadEvent], /, *, at: datetime, was: str, by: str, **fields: Any) -> LeadEvent:
    """Increment the lead's version and return the event of the new version. `was`: the status before."""
    lead.version += 1
    return kind(
        lead_id=lead.id,
        version=lead.version,
        at=at,
        was=was,
        status=lead.status,
        epoch=lead.epoch,
        by=by,
        owner=lead.owner,
        **fields,
    )


def change_of_status(
    lead: Lead, to: str, owner: str | None, /, *, by: str, reason: str | None, when: int, now: int
) -> LeadEvent:
    """Set status and owner by a fact of the time `when`, and return the event of the new version."""
    was = lead.status
    note_change(lead, when)
    set_status(lead, to, owner)
    return next_event(lead, LeadStatusChanged, at=moment(now), was=was, by=by, reason=reason)
