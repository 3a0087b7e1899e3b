"""Keeps the terms of leads as their scores arrive, and rebuilds them from the history."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from firsthour.kernel.normalisation.search_terms import search_terms
from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Event
from schemas.events.leads import LeadScored, LeadsMerged
from services.reporting import rebuilding
from services.reporting.search_terms import forget, store_terms

SEARCH: Final = "search"
SEARCH_VERSION: Final = 1
REBUILD_SEARCH: Final = "reporting.search"
LEADS_AT_ONCE: Final = 50
_NAMES: Final = ("first_name", "last_name")


def follow_search(unit: Unit, events: Iterable[Event]) -> None:
    """Apply these records of the topic `leads`, in their order."""
    newest, gone = dict[str, LeadScored](), set[str]()
    for event in events:
        if isinstance(event, LeadScored):
            newest[event.lead_id] = event
            gone.discard(event.lead_id)
        elif isinstance(event, LeadsMerged):
            newest.pop(event.merged_id, None)
            gone.add(event.merged_id)
    if gone:
        forget(unit, gone)
    changed = {lead: terms for lead, event in newest.items() if (terms := terms_of(event))}
    if changed:
        store_terms(unit, changed)


def terms_of(event: LeadScored) -> list[str]:
    """Return the terms of a person. An anonymous visitor has none."""
    facts = event.facts
    name = facts.get("name")
    names = [str(name)] if name else [str(facts[field]) for field in _NAMES if field in facts]
    company = facts.get("company.name")
    return search_terms(
        email=event.email,
        names=names,
        company=None if company is None else str(company),
        phone=event.phone,
        free_mailbox=facts.get("email.kind") != "business",
    )


def rebuild_search(unit: Unit) -> datetime | None:
    """Rebuild the terms of the next few leads. Return now; None: all leads are done, or another process does it."""
    step = rebuilding.next_step(unit, SEARCH, SEARCH_VERSION, LEADS_AT_ONCE)
    if step is None:
        return None
    newest = dict[str, LeadScored]()
    for event in rebuilding.events_of(unit, step.groups, [LeadScored.TYPE]):
        if isinstance(event, LeadScored):
            before = newest.get(event.lead_id)
            if before is None or event.version > before.version:
                newest[event.lead_id] = event
    forget(unit, step.ids)
    store_terms(unit, {lead: terms for lead, event in newest.items() if (terms := terms_of(event))})
    return unit.now if step.more else None
