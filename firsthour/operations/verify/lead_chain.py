"""The first half of a lead's chain: score, profile, lead and status history follow from each other.

The chain goes on in `assignment_chain` and `clock_chain`. All checks are pure functions of the rows of one lead. Each
yields one line per fault.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from firsthour.operations.verify.lead_history import LeadRows, NewestScore
from firsthour.operations.verify.record_checks import Allowed
from firsthour.operations.verify.snapshot import IN_CRM, Snapshot
from schemas.events.routes import LeadEvent

TEAMS_WITHOUT_OWNER: Final = frozenset({"marketing", "nobody"})
"""The teams whose leads need neither an owner nor a queue."""


class _Profile(msgspec.Struct):
    """The part of a profile's state that repeats its columns."""

    version: int
    email: str | None = None
    phone: str | None = None
    active_at: int = 0


class _State(msgspec.Struct):
    """The part of the router's state that repeats the newest record of scoring."""

    facts: dict[str, str | int | float | bool] = {}
    phone: str | None = None
    suppressed: str | None = None


_decode_profile = msgspec.json.Decoder(_Profile).decode
_decode_state = msgspec.json.Decoder(_State).decode


# --- I1: every service knows the lead, and the lead is accounted for --------------------------------------------------


def services_know_lead(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I1: scoring, the router and reporting know the lead, at the same version."""
    yield from (f"lead {rows.id}: {fault}" for fault in rows.records.faults)
    if rows.profile is None:
        yield f"lead {rows.id}: has no profile, but rows in other tables"
    else:
        yield from _check_profile(snapshot, rows)
    if rows.lead is None:
        yield f"lead {rows.id}: scored, but unknown to the router"
        return
    if rows.status is None and (snapshot.history_complete or rows.records.moves):
        yield f"lead {rows.id}: known to the router, but not counted by reporting"
    elif snapshot.history_complete and (rows.status.status, rows.status.version) != (
        rows.lead.status,
        rows.lead.version,
    ):
        yield (
            f"lead {rows.id}: {rows.lead.status} at version {rows.lead.version}, counted by reporting as "
            f"{rows.status.status} at version {rows.status.version}"
        )


def _check_profile(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    profile, records = rows.profile, rows.records
    state = _decode_profile(profile.state)
    columns = (profile.version, profile.email, profile.phone, profile.active_at)
    if columns != (state.version, state.email, state.phone, state.active_at):
        yield f"lead {rows.id}: the columns of its profile differ from the stored state"
    if not rows.identities:
        yield f"lead {rows.id}: no identity leads to it"
    if profile.email is not None and f"email:{profile.email}" not in {row.identity for row in rows.identities}:
        yield f"lead {rows.id}: its email address does not lead to it"
    if not snapshot.history_complete:
        return
    if records.scores != profile.version and not (rows.partial and records.scores < profile.version):
        yield f"lead {rows.id}: its profile is at version {profile.version}, the history holds {records.scores} scores"
    if records.newest_score is not None:
        yield from _check_newest_score(rows, records.newest_score)


def _check_newest_score(rows: LeadRows, score: NewestScore) -> Iterator[str]:
    if score.version != rows.profile.version:
        yield f"lead {rows.id}: its profile is at version {rows.profile.version}, its last score at {score.version}"
    if rows.lead is None:
        return
    if rows.lead.scoring_version != score.version:
        yield (
            f"lead {rows.id}: its last score has version {score.version}, the router knows version "
            f"{rows.lead.scoring_version}"
        )
        return
    state = _decode_state(rows.lead.state)
    if (rows.lead.email, state.phone, state.suppressed) != (score.email, score.phone, score.suppressed):
        yield f"lead {rows.id}: the router's address, phone or suppression differs from the last score"
    if not score.facts.items() <= state.facts.items():
        yield f"lead {rows.id}: the router's facts differ from the last score"


def lead_is_accounted_for(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I1: the lead is owned, waits with a reason, or belongs to Marketing, the CRM or no team."""
    lead = rows.lead
    if lead is None or lead.owner is not None or (lead.queue_pool is not None and lead.queue_reason):
        return
    team = snapshot.configurations.teams_by_status.get(lead.status)
    if team not in TEAMS_WITHOUT_OWNER and lead.status not in IN_CRM:
        yield f"lead {rows.id}: {lead.status}, but neither owned nor queued with a reason"


# --- I9: the status history ------------------------------------------------------------------------------------------


def status_history_is_complete(snapshot: Snapshot, rows: LeadRows, *, allowed: Allowed) -> Iterator[str]:
    """Check I9: versions have no gap, each change starts from the status before it, and the last one is the lead's."""
    previous: LeadEvent | None = None
    for id, _, event in rows.records.moves:
        version = previous.version + 1 if previous is not None else 1
        if event.version != version and not (previous is None and rows.partial):
            yield f"record {id}: lead {rows.id} has version {event.version}, {version} is expected"
        elif previous is not None and event.was != previous.status:
            yield f"record {id}: lead {event.lead_id} was {event.was}, but the record before made it {previous.status}"
        if event.status != event.was and not allowed(event):
            yield f"record {id}: no agreement lets lead {event.lead_id} go from {event.was} to {event.status} by {event.by}"
        previous = event
    lead = rows.lead
    if lead is None:
        return
    if previous is None:
        initial = (lead.version, lead.status in snapshot.configurations.initial_statuses) == (0, True)
        if snapshot.history_complete and not rows.partial and not initial:
            yield f"lead {rows.id}: {lead.status} at version {lead.version}, but has no record"
    elif previous.version != lead.version:
        if snapshot.history_complete:
            yield f"lead {rows.id}: at version {lead.version}, its last record at {previous.version}"
    elif previous.status != lead.status:
        yield f"lead {rows.id}: {lead.status}, by its last record {previous.status}"
