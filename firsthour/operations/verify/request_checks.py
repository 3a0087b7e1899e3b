"""The check of the requests of a lead: they follow from the records of the router."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import Snapshot
from services.reporting.domain.response import ProspectRequest, apply

_FOLLOWING: Final = (
    "submit_at",
    "urgency",
    "source",
    "rep",
    "touched_at",
    "left_at",
    "attempts",
    "conversations",
    "held_at",
    "released_at",
)
"""The fields that follow from the records alone. Working times follow from the calendars of their time too."""


def requests_match_history(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I2: each touch and each submit counts once in the requests of its lead."""
    stored, moves = rows.requests, rows.records.moves
    if stored is None or rows.partial or rows.id in snapshot.out_of_order or not snapshot.history_current:
        return
    replayed: list[ProspectRequest] = []
    for _, _, event in moves:
        replayed = apply(replayed, event, lambda rep, urgency: None, rows.id)
    if _summary(snapshot, stored) != _summary(snapshot, replayed):
        yield f"lead {rows.id}: its requests in the response report differ from its records"


def _summary(snapshot: Snapshot, requests: Sequence[ProspectRequest]) -> list[tuple[Any, ...]]:
    """Return what is compared. Requests older than the history are removed one by one."""
    return [
        tuple(getattr(request, name) for name in _FOLLOWING)
        for request in requests
        if request.submit_at >= snapshot.history_start
    ]
