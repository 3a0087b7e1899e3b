"""Applies records to the read models of leads: the terms of the search, the requests with their responses, and the passes through
the funnel."""

from collections.abc import Sequence

from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Event
from schemas.events.leads import LeadsMerged
from services.reporting import responses
from services.reporting.funnel_model import concerns_funnel, follow_funnel
from services.reporting.response_model import concerns_requests, follow_requests
from services.reporting.search_model import follow_search


def follow(unit: Unit, events: Sequence[Event]) -> None:
    """Apply these records, in their order, to the models of their leads. All leads are locked at once, so in one order."""
    follow_search(unit, events)
    changes = [event for event in events if concerns_requests(event) or concerns_funnel(event)]
    if not changes:
        return
    named = {str(getattr(event, "lead_id")) for event in changes}  # noqa: B009  # all of them name a lead
    named |= {event.merged_id for event in changes if isinstance(event, LeadsMerged)}
    remaining = responses.remaining_ids(unit, named)
    responses.lock_leads(
        unit, {*named, *remaining.values()}, first=next(iter(unit.config.agreement.lifecycle.statuses))
    )
    follow_funnel(unit, changes, remaining)
    follow_requests(unit, changes, remaining)
