"""Keeps the requests of leads as the records of the router arrive, and rebuilds them from the history.

They are rebuilt once, when a release first has them or counts in another way (`MODEL_VERSION`): in steps of a few leads, while
new records are applied. Both lock the lead, so that neither overwrites the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from firsthour.kernel.business_time import WorkingHours
from firsthour.kernel.cache import once_per_version
from firsthour.kernel.calendar import hours_of
from firsthour.kernel.config import Config
from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Event
from schemas.events.leads import LeadsMerged
from schemas.events.routes import LeadEvent
from services.reporting import rebuilding, responses
from services.reporting.domain.response import FIGURES, Hours, ProspectRequest, apply, united

MODEL: Final = "responses"
MODEL_VERSION: Final = 1
REBUILD: Final = "reporting.responses"
LEADS_AT_ONCE: Final = 20
CHECK_SECONDS: Final = 600.0  # between two looks whether there is something to rebuild
ALWAYS: Final = "always"
OWNER: Final = "owner"


@once_per_version
def hours_by(config: Config) -> Hours:
    """Return the working hours by rep and urgency: the calendar in which the urgency counts, else that of the rep."""
    agreement, reps = config.agreement, config.team.rep_by_id
    compiled: dict[str, WorkingHours] = {}

    def hours(rep: str | None, urgency: str) -> WorkingHours | None:
        terms = agreement.response.urgencies.get(urgency)
        name = terms.counted_in if terms else OWNER
        if name in (ALWAYS, OWNER):
            row = reps.get(rep or "")
            name = (row.calendar if row else None) or ALWAYS
        calendar = agreement.calendars.get(name)
        if calendar is None:
            return None
        if name not in compiled:
            compiled[name] = hours_of(calendar)
        return compiled[name]

    return hours


def concerns_requests(event: Event) -> bool:
    """Return whether a record can change a request."""
    return isinstance(event, (*FIGURES, LeadsMerged))


def follow_requests(unit: Unit, events: Iterable[Event], known: Mapping[str, str]) -> None:
    """Apply these records, in their order, to the requests of their leads.

    Args:
        known: the lead that remains of each lead that they name. All of them are locked.
    """
    changes = [event for event in events if isinstance(event, (*FIGURES, LeadsMerged))]
    if not changes:
        return
    remaining = dict(known)
    leads = {event.lead_id for event in changes}
    leads |= {event.merged_id for event in changes if isinstance(event, LeadsMerged)}
    loaded = responses.find_requests(unit.connection, leads | {remaining[lead] for lead in leads})
    requests = {lead: list(rows) for lead, rows in loaded.items()}
    hours = hours_by(unit.config)
    gone: set[str] = set()
    for event in changes:
        lead = remaining[event.lead_id]
        if isinstance(event, LeadsMerged):
            if _merge(requests, lead, event.merged_id, hours):
                responses.save_alias(unit, event.merged_id, lead)
                remaining = {one: lead if to == event.merged_id else to for one, to in remaining.items()}
                gone |= {event.merged_id, lead}
        elif isinstance(event, LeadEvent):
            requests[lead] = apply(requests.get(lead, ()), event, hours, lead)
    responses.delete_requests(unit, gone)
    responses.save_requests(unit, _changed(loaded, requests, gone))


def _merge(requests: dict[str, list[ProspectRequest]], lead: str, merged: str, hours: Hours) -> bool:
    """Give the requests of a merged lead to the lead that remains. Return whether the two are different leads."""
    if lead == merged:
        return False  # the record of a merge that is already applied
    requests[lead] = united([*requests.get(lead, ()), *requests.pop(merged, ())], lead, hours)
    return True


def _changed(
    before: dict[str, list[ProspectRequest]], after: dict[str, list[ProspectRequest]], all_of: set[str]
) -> list[ProspectRequest]:
    """Return the requests that differ from the stored ones, and all requests of the leads `all_of`."""
    return [
        request
        for lead, rows in after.items()
        for request in rows
        if lead in all_of or request not in before.get(lead, ())
    ]


def rebuild(unit: Unit) -> datetime | None:
    """Rebuild the requests of the next few leads. Return now; None: all leads are done, or another process does it."""
    step = rebuilding.next_step(unit, MODEL, MODEL_VERSION, LEADS_AT_ONCE)
    if step is None:
        return None
    responses.delete_requests(unit, step.leads)
    hours = hours_by(unit.config)
    for lead, group in step.groups.items():
        events = _history(unit, group)
        by_lead: dict[str, list[ProspectRequest]] = {}
        for event in events:
            by_lead[event.lead_id] = apply(by_lead.get(event.lead_id, ()), event, hours, event.lead_id)
        rows = [request for requests in by_lead.values() for request in requests]
        responses.save_requests(unit, united(rows, lead, hours) if len(by_lead) > 1 else rows)
    return unit.now if step.more else None


def _history(unit: Unit, leads: Sequence[str]) -> list[LeadEvent]:
    """Return the records of these leads that change a request, those of each lead in the order of their versions."""
    events = rebuilding.events_of(unit, leads, [kind.TYPE for kind in FIGURES])
    return sorted((event for event in events if isinstance(event, LeadEvent)), key=attrgetter("lead_id", "version"))
