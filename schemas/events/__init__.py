"""Every event of FirstHour, frozen, in the past tense, in the order of a lead's life.

An event is the `data` of a CloudEvents envelope (`schemas.envelope`), whose `type` names its class. Times are
timezone-aware UTC. Facts about a person are one flat dict (`{"company.employees": 400}`), the form that conditions read.
New fields are optional and have a default; a change that an older reader would misread needs a new major version
(`schemas.envelope.MAJOR`).
"""

from schemas.events.actions import ActionRequested
from schemas.events.base import Event, Facts, Urgency, Value
from schemas.events.leads import (
    ConsentChanged,
    LeadScored,
    LeadsMerged,
    LeadTouched,
    MatchedLine,
    OpportunityMoved,
    Score,
    Trigger,
)
from schemas.events.outside import ABOUT_NO_LEAD, FLAG_FACTS, FLAG_REP, FLAG_TIME, FLAGS, OUTSIDE_TYPES, ExternalEvent
from schemas.events.pages import PageFailed, PageSent, PromiseKept, PromiseMissed
from schemas.events.routes import (
    ActionResolved,
    LeadAccepted,
    LeadAssigned,
    LeadCard,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    RepAvailabilityChanged,
    TouchApplied,
)

__all__ = [
    "ABOUT_NO_LEAD",
    "BY_TYPE",
    "FLAGS",
    "FLAG_FACTS",
    "FLAG_REP",
    "FLAG_TIME",
    "OURS",
    "OUTSIDE_TYPES",
    "ActionRequested",
    "ActionResolved",
    "ConsentChanged",
    "Event",
    "ExternalEvent",
    "Facts",
    "LeadAccepted",
    "LeadAssigned",
    "LeadCard",
    "LeadEvent",
    "LeadOptedOut",
    "LeadQualified",
    "LeadQueued",
    "LeadRecycled",
    "LeadReleased",
    "LeadScored",
    "LeadStatusChanged",
    "LeadTouched",
    "LeadsMerged",
    "MatchedLine",
    "OpportunityMoved",
    "PageFailed",
    "PageSent",
    "PromiseKept",
    "PromiseMissed",
    "RepAvailabilityChanged",
    "Score",
    "TouchApplied",
    "Trigger",
    "Urgency",
    "Value",
]

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
