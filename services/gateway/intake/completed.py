"""A thin event that the vendor's API has completed: its events, mapped as those of a delivery."""

from datetime import datetime

import msgspec

from firsthour.runtime.http.exact_json import Parsed
from schemas.team import Team
from services.gateway import request_bodies
from services.gateway.domain import thin_events, unmatched
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.intake.outcome import Accepted, RejectedBody, UnmatchedBody, fault_of, rows_of
from services.gateway.intake.request import HOOKS_PATH
from services.gateway.intake.webhooks import RejectedItem, parse_items
from services.gateway.sources import WebhookEndpoint


def map_completed(
    endpoint: WebhookEndpoint, id: str, event: Json, answer: Json, team: Team, received: datetime
) -> Accepted:
    """Return the events. A thin event that cannot be mapped is kept with its answer: a corrected mapping needs no other fetch.

    Args:
        endpoint: The source.
        id: The id of the thin event, which an event without an id of its own takes.
        event: The thin event.
        answer: The answer of the API.
        team: The reps to whom touches are attributed.
        received: The business time at which the thin event was delivered.
    """
    value = thin_events.completed(event, answer)
    kept = msgspec.json.encode(value)
    body = RejectedBody(HOOKS_PATH + endpoint.id, endpoint.id, request_bodies.JSON, kept, unmatched.WHY, id)
    try:
        events: list[ParsedEvent] = []
        parsed = Parsed(value, False)
        for item in parse_items(endpoint, kept, parsed, team, delivery=id, now=received, fresh=True):
            if isinstance(item, RejectedItem):
                raise item.error.anew()
            events += [one for one, _ in item]
        rows = rows_of(events)
    except UnmappableError as error:
        rejected = msgspec.structs.replace(body, error=str(error))
        return Accepted(endpoint.id, [], bodies=[rejected], faults=[fault_of(error)])
    if not events:
        return Accepted(endpoint.id, [], unmatched=1, unmatched_body=UnmatchedBody(unmatched.vendor_type(event), body))
    return Accepted(endpoint.id, [one.sent_id for one in events], events, rows)


def refused_body(source: str, id: str, event: Json, why: str) -> RejectedBody:
    """Return a thin event as it is kept when it cannot be completed: a retry fetches it again."""
    kept = msgspec.json.encode(thin_events.pending(event))
    return RejectedBody(HOOKS_PATH + source, source, request_bodies.JSON, kept, why, id)
