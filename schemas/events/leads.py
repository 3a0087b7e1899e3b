"""The topic `leads`: persons and their scores, by scoring."""

from datetime import datetime
from typing import ClassVar

import msgspec

from schemas import topics
from schemas.events.base import Event, Facts, Urgency


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
    fields: Facts = msgspec.field(default_factory=dict)
    burst: str = ""  # of the outside event, as the next
    confirms: str = ""


class LeadRequest(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The newest request of the person in their own words. `form`: empty for a chat or a meeting."""

    at: datetime
    text: str
    form: str = ""


class RecentActivity(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One visit, download or other act of the person. `subject`: the page, the paper or the form; may be empty."""

    at: datetime
    type: str  # of the event
    subject: str = ""


class ScoreReason(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One reason of the score: the `because` of a rule, and how often the rule counts."""

    because: str
    times: int = 1


class LeadBackground(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The background of a hand-over, for the person who contacts the lead. No condition reads it."""

    request: LeadRequest | None = None
    activity: tuple[RecentActivity, ...] = ()  # newest first
    reasons: tuple[ScoreReason, ...] = ()  # the largest share of the total first


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
    # The facts of the person and the derived facts (email.domain, email.kind), as conditions read them.
    facts: Facts = msgspec.field(default_factory=dict)
    met: tuple[MatchedLine, ...] = ()
    background: LeadBackground | None = None  # None: the event met no line, and Sales does not have the lead
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
