"""The outcome of an action on a lead, as a value: the lead afterwards, the events to emit, the owner to look for."""

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.events.routes import LeadEvent
from services.router.domain.lead import Lead


class AssignmentEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of the open assignment of a lead."""

    by: str
    reason: str


class OwnerRequest(msgspec.Struct, frozen=True, gc=False):
    """A request for the next owner. `rep` None: the routing rules choose, and without a rep the lead waits."""

    rep: str | None = None
    rule: str = ""  # stored as the rule of the decision when `rep` is given
    reason: str | None = None  # of an assignment by hand


BY_RULES: Final = OwnerRequest()


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What an action does. If `lead` is the object that the action was given, the action is already in effect."""

    lead: Lead  # afterwards, before `next_owner` is found
    events: tuple[LeadEvent, ...] = ()  # in the order of their versions
    ended: AssignmentEnd | None = None  # None: the open assignment, if any, goes on
    next_owner: OwnerRequest | None = None  # None: the owner stays as in `lead`
    effect: str = ""  # of a touch: what it did or why it did nothing, in words for people


# The functions below change the lead that they are given: a copy made by `copied`, which becomes the outcome.


def copied(lead: Lead) -> Lead:
    """Return a copy of `lead` whose fields and state can be set. Dictionaries are shared: replace them, do not change them."""
    return replace(lead, state=replace(lead.state))


def set_status(lead: Lead, status: str, owner: str | None) -> None:
    """Set status and owner. The lead leaves the queue, and without an owner also its pool."""
    lead.status, lead.owner = status, owner
    lead.queue_pool = lead.queue_reason = lead.queue_since = None
    if owner is None:
        lead.pool = None


def end_assignment(lead: Lead, by: str, reason: str, now: int) -> AssignmentEnd | None:
    """Note the owner as the previous one and return the end of their assignment. None: the lead has no owner."""
    if lead.owner is None:
        return None
    lead.state.previous_owner, lead.state.previous_left_at = lead.owner, now
    return AssignmentEnd(by, reason)


def next_event(lead: Lead, kind: type[LeadEvent], /, *, at: datetime, was: str, by: str, **fields: Any) -> LeadEvent:
    """Raise the lead's version and return the event of that version. `was`: the status before; the rest is as it stands."""
    lead.version += 1
    return kind(
        lead_id=lead.id,
        version=lead.version,
        at=at,
        was=was,
        status=lead.status,
        epoch=lead.epoch,
        by=by,
        **fields,
    )
