"""Keeps the passes of leads through the funnel as records arrive, and rebuilds them from the history.

They are rebuilt once, when a release first has them or counts in another way (`MODEL_VERSION`), and by `firsthour rebuild`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Event
from schemas.events.leads import LeadScored, LeadsMerged, OpportunityMoved
from schemas.events.routes import (
    LeadAccepted,
    LeadAskedAgain,
    LeadAssigned,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadSnoozed,
    LeadStatusChanged,
    TouchApplied,
)
from services.reporting import funnel_passes, rebuilding
from services.reporting.domain.funnel import FunnelPass, apply, changes_funnel, united

FUNNEL: Final = "funnel"
FUNNEL_VERSION: Final = 1
REBUILD_FUNNEL: Final = "reporting.funnel"
LEADS_AT_ONCE: Final = 20
_MOVES: Final = (
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
    TouchApplied,
)
_TYPES: Final = [kind.TYPE for kind in (LeadScored, OpportunityMoved, LeadsMerged, *_MOVES)]


def concerns_funnel(event: Event) -> bool:
    """Return whether a record can change the funnel."""
    return isinstance(event, LeadsMerged) or changes_funnel(event)


def follow_funnel(unit: Unit, events: Iterable[Event], remaining: Mapping[str, str]) -> None:
    """Apply these records, in their order, to the passes of their leads.

    Args:
        remaining: the lead that remains of each lead that they name. All of them are locked.
    """
    changes = [event for event in events if concerns_funnel(event)]
    if not changes:
        return
    leads = {
        remaining[event.lead_id] for event in changes if isinstance(event, LeadScored | OpportunityMoved | LeadEvent)
    }
    merges = [event for event in changes if isinstance(event, LeadsMerged)]
    leads |= {lead for event in merges for lead in (remaining[event.lead_id], event.merged_id)}
    loaded = funnel_passes.find_passes(unit.connection, leads)
    after, gone = _applied(unit, changes, loaded, dict(remaining))
    funnel_passes.delete_passes(unit, gone)
    before = {(one.lead_id, one.cycle): one for rows in loaded.values() for one in rows}
    changed = [
        one
        for lead, rows in after.items()
        for one in rows
        if lead in gone or before.get((one.lead_id, one.cycle)) != one
    ]
    left = [one for lead in gone for one in loaded.get(lead, ())]
    left += [before[key] for one in changed if (key := (one.lead_id, one.cycle)) in before]
    funnel_passes.save_passes(unit, changed, left)


def _applied(
    unit: Unit, events: Iterable[Event], loaded: Mapping[str, list[FunnelPass]], remaining: dict[str, str]
) -> tuple[dict[str, list[FunnelPass]], set[str]]:
    """Return the passes of each lead after these records, and the leads whose stored passes are replaced."""
    lifecycle = unit.config.agreement.lifecycle
    after, gone = {lead: list(rows) for lead, rows in loaded.items()}, set[str]()
    for event in events:
        if isinstance(event, LeadsMerged):
            lead = remaining.get(event.lead_id, event.lead_id)
            if lead != event.merged_id and remaining.get(event.merged_id, event.merged_id) != lead:
                theirs = after.pop(event.merged_id, [])
                ours = after.get(lead, [])
                if theirs:
                    after[lead] = united(ours, theirs, lead)
                remaining.update({one: lead for one, to in remaining.items() if to == event.merged_id})
                gone |= {event.merged_id, lead}
        elif isinstance(event, LeadScored | OpportunityMoved | LeadEvent):
            lead = remaining.get(event.lead_id, event.lead_id)
            after[lead] = apply(after.get(lead, ()), event, lifecycle, lead)
    return after, gone


def rebuild_funnel(unit: Unit) -> datetime | None:
    """Rebuild the passes of the next few leads. Return now; None: all leads are done, or another process does it."""
    step = rebuilding.next_step(unit, FUNNEL, FUNNEL_VERSION, LEADS_AT_ONCE)
    if step is None:
        return None
    before = [one for rows in funnel_passes.find_passes(unit.connection, step.ids).values() for one in rows]
    funnel_passes.delete_passes(unit, step.ids)
    rows: list[FunnelPass] = []
    for lead, group in step.groups.items():
        after, _ = _applied(unit, _history(unit, group), {one: [] for one in group}, {one: one for one in group})
        rows += after.get(lead, [])
    funnel_passes.save_passes(unit, rows, before)
    return unit.now if step.more else None


def _history(unit: Unit, leads: Sequence[str]) -> list[Event]:
    """Return the records of these leads that change a pass, in the order of their times."""
    events = rebuilding.events_of(unit, leads, _TYPES)
    return sorted(filter(concerns_funnel, events), key=_order)


def _order(event: Event) -> tuple[bool, datetime, int]:
    """Put the first score of each lead first, then the records in the order of their times and versions."""
    at = attrgetter("at")(event)
    return not isinstance(event, LeadScored), at, getattr(event, "version", 0)
