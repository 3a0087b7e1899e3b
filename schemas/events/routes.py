"""The topic `routes`: decisions about leads, and the availability of reps, by the router."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from schemas import topics
from schemas.events.base import Event, Urgency
from schemas.events.leads import LeadRequest, RecentActivity, Score, ScoreReason, Trigger

HELD_BACK = "(held back)"
"""The pool of the queue in which the leads of a burst wait until it is released."""


class LeadEvent(Event, frozen=True, kw_only=True, gc=False):
    """The fields of every record of the router about a lead."""

    TOPIC: ClassVar[str] = topics.ROUTES

    lead_id: str
    version: int  # raised by the router with every record about this lead
    at: datetime
    status: str  # after
    was: str  # before
    epoch: int  # of the latest assignment; 0 before the first
    by: str  # `system`, `rep:<id>`, `key:<name>`
    owner: str | None = None  # rep id, after; None: no owner, or a record of an older release


class LeadStatusChanged(LeadEvent, frozen=True, kw_only=True, gc=False):
    """A status changed along a transition that no other record names (disqualified, won, consent given again ...)."""

    TYPE: ClassVar[str] = "lead.status_changed"

    reason: str | None = None


class LeadQualified(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The lead is handed over from Marketing to Sales by one line of the agreement. Its clock runs from `submit_at`."""

    TYPE: ClassVar[str] = "lead.qualified"

    line: str
    urgency: Urgency
    submit_at: datetime
    score: Score
    trigger: Trigger
    title: str = ""  # name and company of the lead, for the notifier


class LeadCard(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The text about a lead in a page. Every field comes from outside: escape it where it is shown."""

    name: str = ""
    email: str = ""
    phone: str = ""
    title: str = ""
    company: str = ""
    employees: float = 0  # of the company; 0: unknown
    country: str = ""  # of the person; two letters, or the words of the sender
    company_country: str = ""
    because: str = ""  # the qualify line and its trigger; for consumers of `routes`, not shown in pages
    source: str = ""  # of the trigger; as `because`
    zone: str = ""  # the time zone that the person's browser or the sender stated
    grade: str = ""
    total: float = 0.0
    request: LeadRequest | None = None
    activity: tuple[RecentActivity, ...] = ()  # newest first
    reasons: tuple[ScoreReason, ...] = ()  # the largest share of the total first


class LeadQueued(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The lead is qualified, but no rep can take it yet."""

    TYPE: ClassVar[str] = "lead.queued"

    pool: str
    reason: str
    urgency: Urgency
    submit_at: datetime
    card: LeadCard = LeadCard()


class LeadAssigned(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The lead has an owner: assignment number `epoch`."""

    TYPE: ClassVar[str] = "lead.assigned"

    rep: str
    decision_id: str
    urgency: Urgency
    submit_at: datetime
    assigned_at: datetime
    reassignments: int = 0  # how often a missed clock changed the owner since the submit
    touched_at: datetime | None = None  # of the first touch since the submit; then there is no clock
    rep_version: int = 0  # of the owner's availability (`rep.availability_changed`), as known when the owner was chosen
    pool: str | None = None
    rule: str | None = None
    reason: str | None = None  # of an assignment by hand
    card: LeadCard = LeadCard()


class LeadReleased(LeadEvent, frozen=True, kw_only=True, gc=False):
    """An assignment ended without an outcome (reject to the next rep, missed clock, deactivated rep, merge)."""

    TYPE: ClassVar[str] = "lead.released"

    rep: str
    kind: Literal["reject", "reassign", "deactivated", "merged", "hand-over"]
    reason: str
    note: str | None = None  # of the person who released it


class LeadAccepted(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The owner accepted the lead: reminders to the owner end, and the clock continues."""

    TYPE: ClassVar[str] = "lead.accepted"

    rep: str


class LeadSnoozed(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The owner snoozed the lead over the API. The agreement decides whether its clock pauses until then."""

    TYPE: ClassVar[str] = "lead.snoozed"

    rep: str
    until: datetime


class LeadAskedAgain(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The person of an owned lead asked again. The status stays; the response clock runs from the new `submit_at`."""

    TYPE: ClassVar[str] = "lead.asked_again"

    rep: str  # the owner
    line: str
    urgency: Urgency
    submit_at: datetime
    trigger: Trigger
    rep_version: int = 0  # of the owner's availability; 0: not known here
    pool: str | None = None
    card: LeadCard = LeadCard()


class TouchApplied(LeadEvent, frozen=True, kw_only=True, gc=False):
    """A touch took effect (if it stops the clock, the status becomes working, unless it is beyond), or was `ignored`."""

    TYPE: ClassVar[str] = "touch.applied"

    channel: str
    answered: bool
    touched_at: datetime
    rep: str | None = None
    event_id: str | None = None
    note: str | None = None
    ignored: str | None = None  # why it does not count: it was before the submit
    stops: bool = True  # whether it ends the response clock; False: an attempt, where only a conversation does


class LeadRecycled(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The lead is back with Marketing. `kind` recycle resets engagement; reject does not."""

    TYPE: ClassVar[str] = "lead.recycled"

    kind: Literal["reject", "recycle"]
    reason: str
    rep: str | None = None
    since: datetime | None = None  # the time of the cause; None: that of the record
    until: datetime | None = None  # until then no score hands the lead over; None: by the agreement
    note: str | None = None  # of the person who returned it


class LeadOptedOut(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The person opted out: no owner, no clock, no page, no list."""

    TYPE: ClassVar[str] = "lead.opted_out"

    reason: str


class ActionResolved(Event, frozen=True, kw_only=True, gc=False):
    """The router's result for an action requested on `actions`. An action that is already in effect counts as applied."""

    TYPE: ClassVar[str] = "action.resolved"
    TOPIC: ClassVar[str] = topics.ROUTES

    lead_id: str
    action_id: str
    action: str
    epoch: int
    at: datetime
    outcome: Literal["applied", "refused"]
    why: str | None = None


class RepAvailabilityChanged(Event, frozen=True, kw_only=True, gc=False):
    """A rep became available, away or deactivated; keyed by the rep."""

    TYPE: ClassVar[str] = "rep.availability_changed"
    TOPIC: ClassVar[str] = topics.ROUTES

    rep: str
    at: datetime
    state: Literal["available", "away", "deactivated"]
    until: datetime | None = None
    reason: str | None = None
    version: int = 0  # raised by the router with every change of this rep; it orders the records, `at` does not
