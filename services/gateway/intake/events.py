"""`/v1/events`: events in the short form, or CloudEvents (structured, binary, batch), under an API key."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from firsthour.runtime.http import idempotency
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from schemas.team import Team
from services.gateway import request_bodies, senders
from services.gateway.domain import cloudevents
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_event
from services.gateway.intake.outcome import Accepted, Rejected, RejectedBody, RetryKey, problem_of, rows_of
from services.gateway.intake.request import (
    EVENTS_PATH,
    Headers,
    IncomingRequest,
    idempotency_key,
    reject_compressed,
)
from services.gateway.intake.turns import in_turns
from services.gateway.senders import Types

EVENT_MEDIA: Final = f"{request_bodies.JSON}, {cloudevents.STRUCTURED}, {cloudevents.BATCH}"
_BINARY: Final = frozenset({b"ce-specversion", b"ce-id", b"ce-type", b"ce-source"})
"""Each of them says that the attributes of the event are in the headers."""
_SHAPE: Final = "see `/docs` for the shape of an event"


async def decide(
    request: IncomingRequest, sender: Principal, sources: Mapping[str, Types], team: Team, now: datetime
) -> Accepted | Rejected:
    """Decide about the events that `sender` posts.

    Args:
        request: The request, read whole.
        sender: The principal of its API key.
        sources: The types that keys of each `kind: api` source may send.
        team: The reps to whom touches are attributed.
        now: The business time.
    """
    media, options = request_bodies.parse_content_type(request.headers.get(b"content-type", b""))
    body, body_media = request.body, media
    try:
        reject_compressed(request.headers)
        attributes = _binary_attributes(request.headers, media)
        if attributes is not None:
            body, body_media = _structured(body, attributes), cloudevents.STRUCTURED
        parsed = parse_events(request.body, media, options, attributes, key=sender.name, now=now)
        events = parsed if isinstance(parsed, list) else await in_turns(parsed)
        events = senders.authorize(events, sender, sources, team)
        rows = rows_of(events)
        retry_key = _retry_key(request.headers, sender, media, body)
    except UnmappableError as error:
        rep = senders.bound_rep(sender)
        kept = RejectedBody(EVENTS_PATH, sender.name, body_media, body, str(error), rep)
        return Rejected(problem_of(error), kept, sender.name)
    except Problem as problem:
        return Rejected(problem, source=sender.name)
    return Accepted(sender.name, [event.sent_id for event in events], events, rows, retry_key)


def parse_events(
    body: bytes,
    media: str,
    options: request_bodies.Options,
    attributes: Mapping[str, Json] | None,
    *,
    key: str,
    now: datetime,
) -> list[ParsedEvent] | Iterator[ParsedEvent]:
    """Parse the events of a request.

    Args:
        body: The body as it was received.
        media: Its media type.
        options: The parameters of its content type.
        attributes: The attributes of a binary CloudEvent. None: the body is no binary CloudEvent.
        key: The name of the API key.
        now: The business time.

    Returns:
        A list of one event, or an iterator that parses the items of a list one by one.

    Raises:
        UnmappableError: The body is not an event.
        Problem: 415 for another media type.
    """
    if attributes is not None:
        if not request_bodies.is_json(media):
            request_bodies.reject_type(media, request_bodies.JSON)
        parsed = request_bodies.parse_json(body, options)
        return [_parse({**attributes, "data": parsed.value}, "#", key, now, parsed.altered)]
    if media not in (request_bodies.JSON, cloudevents.STRUCTURED, cloudevents.BATCH):
        request_bodies.reject_type(media, EVENT_MEDIA)
    parsed = request_bodies.parse_json(body, options)
    value = parsed.value
    if type(value) is dict and media != cloudevents.BATCH:
        return [_parse(value, "#", key, now, parsed.altered)]
    if type(value) is list and media != cloudevents.STRUCTURED:
        return _distinct(_parse(item, f"#/{index}", key, now, parsed.altered) for index, item in enumerate(value))
    expected = "a list of events" if media == cloudevents.BATCH else "an object"
    raise UnmappableError("#", f"is not {expected}", _SHAPE)


def _distinct(events: Iterable[ParsedEvent]) -> Iterator[ParsedEvent]:
    """Yield the events of a list. Raises `UnmappableError` for one with the id of another and other data: it would be lost."""
    earlier: dict[str, tuple[int, ParsedEvent]] = {}
    for index, event in enumerate(events):
        first, same = earlier.setdefault(event.event_id, (index, event))
        if event != same:
            fault = f"is the id of #/{first} too, which has other data"
            raise UnmappableError(f"#/{index}/id", fault, "give each event an id of its own")
        yield event


def _parse(item: Json, pointer: str, key: str, now: datetime, altered: bool) -> ParsedEvent:
    if type(item) is not dict:
        raise UnmappableError(pointer, "is not an object", _SHAPE)
    if "specversion" in item:
        item = cloudevents.short_form(item, _parse_data, pointer)
    source = item.get("source")
    if source is None:
        source = ""
    elif type(source) is not str:
        raise UnmappableError(f"{pointer}/source", "is not a text", "name the origin of the event, such as `crm`")
    return parse_event(item, origin=key, scope=f"{key}\n{source}", now=now, altered=altered, pointer=pointer)


def _parse_data(body: bytes) -> Json:
    return request_bodies.parse_json(body).value


def _binary_attributes(headers: Headers, media: str) -> dict[str, Json] | None:
    """Return the attributes of a binary CloudEvent. None: the body is no binary CloudEvent."""
    if _BINARY.isdisjoint(headers) or media.startswith("application/cloudevents"):
        return None
    return {"specversion": None, **cloudevents.attributes(headers)}


def _structured(body: bytes, attributes: Mapping[str, Json]) -> bytes:
    """Return a binary CloudEvent as one body: a dead letter has no place for its headers."""
    return msgspec.json.encode({**attributes, "data_base64": base64.b64encode(body).decode()})


def _retry_key(headers: Headers, sender: Principal, media: str, body: bytes) -> RetryKey | None:
    key = idempotency_key(headers)
    if key is None:
        return None
    return RetryKey(f"{sender.id} POST {EVENTS_PATH}", key, idempotency.fingerprint(media.encode(), body))
