"""Records of the topic `inbound`: CloudEvents of other programs, structured or binary. The source is that of their producer."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.strict_json import SIZE_MAX
from firsthour.runtime.storage.records import Row
from schemas.sources import TOUCH, KafkaSource
from schemas.team import Team
from schemas.topics import INBOUND
from services.gateway import request_bodies, senders
from services.gateway.domain import cloudevents
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.intake.events import parse_events
from services.gateway.intake.outcome import rows_of
from services.gateway.sources import Producers

ORIGIN: Final = f"{INBOUND}/"
"""The beginning of the origin of a dead letter."""
ANY_PRODUCER: Final = "*"
_SHAPE: Final = (
    "write CloudEvents 1.0, structured with the header `content-type: application/cloudevents+json`, or binary"
)


class InboundBody(NamedTuple):
    """A record in the form in which it is kept: a binary event as a structured one. `fault`: it is no CloudEvent."""

    body: bytes
    content_type: str
    fault: UnmappableError | None = None


class InboundEvent(NamedTuple):
    """The outcome of a record. `source`: empty: the producer is unknown. `error`: None: the event is accepted."""

    source: str
    events: Sequence[ParsedEvent] = ()
    rows: Sequence[Row] = ()
    error: Exception | None = None


def body_of(value: bytes, headers: Sequence[tuple[str, bytes]]) -> InboundBody:
    """Return the body of a record. `headers`: names in any case."""
    sent = next((content for name, content in headers if name.lower() == "content-type"), b"")
    content_type = sent.decode("latin-1")
    try:
        attributes = cloudevents.kafka_attributes(headers)
        if not attributes or content_type.startswith("application/cloudevents"):
            return InboundBody(value, content_type or cloudevents.STRUCTURED)
        media, options = request_bodies.parse_content_type(sent or b"application/json")
        if value and not request_bodies.is_json(media):
            raise UnmappableError("header:content-type", "is not JSON", "send the data as application/json", 415)
    except UnmappableError as error:
        return InboundBody(value, content_type, error)
    return InboundBody(msgspec.json.encode({**attributes, **_data(value, options)}), cloudevents.STRUCTURED)


def _data(value: bytes, options: request_bodies.Options) -> dict[str, object]:
    """Return the data of a binary event as members of a structured one. Data that is no JSON is kept as it is, in base64."""
    if not value or len(value) > SIZE_MAX:
        return {"data_base64": base64.b64encode(value).decode()} if value else {}
    try:
        parsed = request_bodies.parse_json(value, options)
    except UnmappableError:
        return {"data_base64": base64.b64encode(value).decode()}
    return {"data": msgspec.Raw(value) if _is_utf_8(value) else parsed.value}


def _is_utf_8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_record(record: InboundBody, producers: Producers, team: Team, now: datetime) -> InboundEvent:
    """Parse a record as `/v1/events` parses a CloudEvent. A failure is returned, so that it concerns this record alone."""
    source = ""
    try:
        sender = _sender(record, producers)
        source = sender.id
        media, options = request_bodies.parse_content_type(record.content_type.encode("latin-1", "replace"))
        parsed = parse_events(record.body, media, options, None, key=source, now=now)
        events = [_checked(event, sender, team) for event in parsed]
        return InboundEvent(source, events, rows_of(events))
    except Exception as error:  # noqa: BLE001  # the failure concerns this record, and those after it are read
        return InboundEvent(source, error=error)


def _sender(record: InboundBody, producers: Producers) -> KafkaSource:
    """Return the source of the producer. Raises `UnmappableError`."""
    if record.fault is not None:
        raise record.fault
    if len(record.body) > SIZE_MAX:
        raise UnmappableError("#", f"has more than {SIZE_MAX // 1024} KiB", "write fewer fields, or shorter ones", 413)
    media, options = request_bodies.parse_content_type(record.content_type.encode("latin-1", "replace"))
    if media != cloudevents.STRUCTURED:
        raise UnmappableError("header:content-type", "is not that of one CloudEvent", _SHAPE, 415)
    value = request_bodies.parse_json(record.body, options).value
    if not isinstance(value, dict) or "specversion" not in value:
        raise UnmappableError("#", "is no CloudEvent", _SHAPE)
    return _source_of(value.get("source"), producers)


def _source_of(producer: Json, producers: Producers) -> KafkaSource:
    sender = producers.get(producer) if isinstance(producer, str) else None
    sender = sender or producers.get(ANY_PRODUCER)
    if sender is None:
        fault = "is a producer that no source of `kind: kafka` in sources.yaml names"
        raise UnmappableError("#/source", fault, "add it to `producers` of a source, or drop the letter", 403)
    return sender


def _checked(event: ParsedEvent, sender: KafkaSource, team: Team) -> ParsedEvent:
    senders.check_source_type(event, sender.id, frozenset(sender.types), "#")
    return senders.drop_unknown_rep(event, team) if event.type == TOUCH else event


def reason_of(error: Exception) -> str | None:
    """Return the reason for which a record was not accepted, in words. None: the failure is one of ours."""
    if isinstance(error, UnmappableError):
        return str(error)
    return error.detail or error.title if isinstance(error, Problem) else None
