"""The events of FirstHour itself, in the order of a lead's life, and their classes by type."""

from schemas.events.actions import ActionRequested
from schemas.events.base import Event
from schemas.events.leads import ConsentChanged, LeadScored, LeadsMerged, LeadTouched, OpportunityMoved
from schemas.events.pages import PageFailed, PageSent, PromiseKept, PromiseMissed
from schemas.events.routes import (
    ActionResolved,
    LeadAccepted,
    LeadAskedAgain,
    LeadAssigned,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadSnoozed,
    LeadStatusChanged,
    RepAvailabilityChanged,
    TouchApplied,
)

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
    LeadSnoozed,
    LeadAskedAgain,
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
