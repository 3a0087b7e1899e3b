"""Every event of FirstHour, frozen, in the past tense, in the order of a lead's life.

An event is the `data` of a CloudEvents envelope (`schemas.envelope`), whose `type` names its class. Times are
timezone-aware UTC. Facts about a person are one flat dict (`{"company.employees": 400}`), the form that conditions read.
New fields are optional and have a default; a change that an older reader would misread needs a new major version
(`schemas.envelope.MAJOR`).
"""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from schemas import topics

Value = str | int | float | bool
Facts = dict[str, Value]
Urgency = str
"""`hot`, `warm`, or another name in `response` of the agreement."""

OUTSIDE_TYPES = (
    "form.submitted",
    "page.viewed",
    "content.downloaded",
    "email.opened",
    "email.clicked",
    "email.bounced",
    "email.unsubscribed",
    "webinar.attended",
    "trial.started",
    "meeting.booked",
    "chat.started",
    "lead.imported",
    "lead.updated",
    "consent.given",
    "consent.withdrawn",
    "touch.recorded",
    "opportunity.changed",
    "cost.recorded",
)
"""The types of outside events, besides `custom.*`."""

ABOUT_NO_LEAD = frozenset({"cost.recorded"})
"""Those of them that concern no person."""

FLAG_TIME = "time-replaced"
FLAG_FACTS = "facts-dropped"
FLAG_REP = "rep-unknown"
FLAGS = {
    FLAG_TIME: "its time was impossible; it counts as received",
    FLAG_FACTS: "fields that only FirstHour may state were dropped",
    FLAG_REP: "it named a rep who is not in the team; the name was dropped",
}
"""Flags of an outside event, with their texts in a timeline."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event. `TYPE`: of its envelope. `TOPIC`: of its record. It is in no reference cycle, so the garbage collector skips
    it (`gc=False`)."""

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]


# --- events: outside events, normalised by the gateway -------------------------------------------------


class ExternalEvent(Event, frozen=True, kw_only=True, gc=False):
    """One outside event, verified, mapped and normalised.

    The type of its envelope is one of `OUTSIDE_TYPES` or `custom.*`. The id of its envelope is the uuid5 of source and
    sender's id: a retry is recognised, and two senders may use the same id.
    """

    TYPE: ClassVar[str] = "*"
    TOPIC: ClassVar[str] = topics.EVENTS

    source: str  # the authenticated source: an id of sources.yaml, or the API key's name
    source_id: str  # the sender's own id of this event
    received_at: datetime
    email: str | None = None  # normalised
    phone: str | None = None  # E.164
    crm_id: str | None = None
    anonymous_id: str | None = None
    person: Facts = {}
    fields: Facts = {}  # of the event: form, path, content, link, channel, answered ...
    altered: bool = False  # NUL or lone surrogates were replaced, or a future time was clamped
    flags: tuple[str, ...] = ()  # keys of `FLAGS`: the changes made on arrival
    dropped: int = 0  # number of dropped fields, see the flag `facts-dropped`

    @property
    def key(self) -> str:
        """The strongest identifier: the key of the record."""
        return self.email or self.phone or self.crm_id or self.anonymous_id or ""


# --- leads: persons and scores, by scoring ----------------------------------------------------------------------------


class Score(msgspec.Struct, frozen=True, gc=False):
    """Points at one moment: fit and engagement from 0 to `at_most`, total their weighted sum, grade a band of fit."""

    fit: float
    engagement: float
    total: float
    grade: str


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The outside event behind a record."""

    event_id: str
    type: str
    at: datetime
    source: str
    fields: Facts = {}


class MatchedLine(msgspec.Struct, frozen=True, gc=False):
    """A qualify line that is met. `by_event`: the line names the type of this event (`on:`), so each such event counts."""

    name: str
    urgency: Urgency
    by_event: bool


class LeadScored(Event, frozen=True, kw_only=True, gc=False):
    """The person, all known facts, the score as of the trigger, and the qualify lines that are met."""

    TYPE: ClassVar[str] = "lead.scored"
    TOPIC: ClassVar[str] = topics.LEADS

    lead_id: str
    version: int  # raised by scoring with every record about this lead; an older one never overwrites a newer
    at: datetime
    trigger: Trigger
    score: Score
    email: str | None = None
    phone: str | None = None
    facts: Facts = {}  # person facts and derived ones (email.domain, email.kind), as conditions read them
    met: tuple[MatchedLine, ...] = ()
    suppressed: str | None = None  # the reason by the agreement; then the person is not scored and not routed
    shared: str | None = None  # how the person was chosen among several: `phone, shared by 3 people`


class LeadTouched(Event, frozen=True, kw_only=True, gc=False):
    """A contact with the lead, or an attempt. A CRM or telephony reports it (emitted by scoring), or an API call or a button
    (emitted by the router). The first one ends the ladder."""

    TYPE: ClassVar[str] = "lead.touched"
    TOPIC: ClassVar[str] = topics.LEADS

    lead_id: str
    at: datetime
    channel: str  # phone, email, meeting, chat, other
    answered: bool
    by: str | None = None  # rep id, where known
    by_email: str | None = None
    event_id: str | None = None
    note: str | None = None


class ConsentChanged(Event, frozen=True, kw_only=True, gc=False):
    """The person withdrew consent (opt-out) or gave it again."""

    TYPE: ClassVar[str] = "consent.changed"
    TOPIC: ClassVar[str] = topics.LEADS

    lead_id: str
    at: datetime
    given: bool
    reason: str
    event_id: str


class OpportunityMoved(Event, frozen=True, kw_only=True, gc=False):
    """A CRM moved the deal: `stage` is one of open, won, lost, or the CRM's own word."""

    TYPE: ClassVar[str] = "opportunity.moved"
    TOPIC: ClassVar[str] = topics.LEADS

    lead_id: str
    at: datetime
    stage: str
    event_id: str
    opportunity_id: str | None = None
    amount: float | None = None
    currency: str | None = None


class LeadsMerged(Event, frozen=True, kw_only=True, gc=False):
    """Two leads are one person; `lead_id` remains. The event is emitted under both ids."""

    TYPE: ClassVar[str] = "leads.merged"
    TOPIC: ClassVar[str] = topics.LEADS

    lead_id: str
    merged_id: str
    at: datetime


# --- routes: decisions, by the router ----------------------------------------------------------------------------


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


class LeadQueued(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The lead is qualified, but no rep can take it yet."""

    TYPE: ClassVar[str] = "lead.queued"

    pool: str
    reason: str
    urgency: Urgency
    submit_at: datetime


class LeadCard(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The text about a lead in a page. Every field comes from outside: escape it where it is shown."""

    name: str = ""
    email: str = ""
    phone: str = ""
    title: str = ""
    company: str = ""
    because: str = ""  # the qualify line and its trigger
    grade: str = ""
    total: float = 0.0
    source: str = ""


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


class LeadAccepted(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The owner accepted the lead: reminders to the owner end, and the clock continues."""

    TYPE: ClassVar[str] = "lead.accepted"

    rep: str


class TouchApplied(LeadEvent, frozen=True, kw_only=True, gc=False):
    """A touch took effect (the status becomes working, unless it is already beyond), or was `ignored`."""

    TYPE: ClassVar[str] = "touch.applied"

    channel: str
    answered: bool
    touched_at: datetime
    rep: str | None = None
    event_id: str | None = None
    note: str | None = None
    ignored: str | None = None  # why it does not count: it was before the submit


class LeadRecycled(LeadEvent, frozen=True, kw_only=True, gc=False):
    """The lead is back with Marketing. `kind` recycle resets engagement; reject does not."""

    TYPE: ClassVar[str] = "lead.recycled"

    kind: Literal["reject", "recycle"]
    reason: str
    rep: str | None = None
    since: datetime | None = None  # the time of the cause; None: that of the record
    until: datetime | None = None  # until then no score hands the lead over; None: by the agreement


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
    version: int = (
        0  # raised by the router with every change of this rep: the higher one is the newer, whatever `at` says
    )


# --- pages: deliveries and promises, by the notifier -------------------------------------------------------------------------------


class PageSent(Event, frozen=True, kw_only=True, gc=False):
    """A channel accepted a page to one person. After a crash the page may be delivered twice, but never not at all."""

    TYPE: ClassVar[str] = "page.sent"
    TOPIC: ClassVar[str] = topics.PAGES

    page_id: str
    lead_id: str
    epoch: int
    rung: int
    person: str  # rep id
    channel: str
    at: datetime
    tries: int = 1


class PageFailed(Event, frozen=True, kw_only=True, gc=False):
    """Every channel of the rung refused the person. Emitted once; the page is still retried."""

    TYPE: ClassVar[str] = "page.failed"
    TOPIC: ClassVar[str] = topics.PAGES

    page_id: str
    lead_id: str
    epoch: int
    rung: int
    person: str
    at: datetime
    why: str
    tried: tuple[str, ...] = ()


class PromiseKept(Event, frozen=True, kw_only=True, gc=False):
    """The lead was touched; `seconds` from submit to touch. `late`: the promise had already ended."""

    TYPE: ClassVar[str] = "promise.kept"
    TOPIC: ClassVar[str] = topics.PAGES

    lead_id: str
    at: datetime
    submit_at: datetime
    seconds: float
    late: bool
    rep: str | None = None


class PromiseMissed(Event, frozen=True, kw_only=True, gc=False):
    """The response clock ended without a touch."""

    TYPE: ClassVar[str] = "promise.missed"
    TOPIC: ClassVar[str] = topics.PAGES

    lead_id: str
    epoch: int
    at: datetime
    submit_at: datetime
    promise_at: datetime
    rep: str | None = None


# --- actions: requests of people and rungs to the router ------------------------------------------------------------


class ActionRequested(Event, frozen=True, kw_only=True, gc=False):
    """A person pressed a button, or a rung fired. The router applies the action if epoch and state still match."""

    TYPE: ClassVar[str] = "action.requested"
    TOPIC: ClassVar[str] = topics.ACTIONS

    action_id: str
    action: Literal["accept", "reject", "touch", "snooze", "reassign", "away"]
    lead_id: str
    epoch: int
    at: datetime
    by: str
    reason: str | None = None
    channel: str | None = None
    answered: bool = False
    until: datetime | None = None
    told: bool = True  # reassign: whether a channel had accepted a page to the owner


OURS: tuple[type[Event], ...] = (
    LeadScored,
    LeadTouched,
    ConsentChanged,
    OpportunityMoved,
    LeadsMerged,
    LeadStatusChanged,
    LeadQualified,
    LeadQueued,
    LeadAssigned,
    LeadReleased,
    LeadAccepted,
    TouchApplied,
    LeadRecycled,
    LeadOptedOut,
    ActionResolved,
    RepAvailabilityChanged,
    PageSent,
    PageFailed,
    PromiseKept,
    PromiseMissed,
    ActionRequested,
)
BY_TYPE: dict[str, type[Event]] = {event.TYPE: event for event in OURS}
