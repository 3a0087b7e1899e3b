"""Records of the topic `inbound`: CloudEvents of other programs, structured or binary. The source is that of their producer."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

import msgspec

from firsthour.runtime.http.exact_json import Parsed
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.strict_json import SIZE_MAX
from firsthour.runtime.storage.records import Row
from schemas.sources import TOUCH
from schemas.team import Team
from schemas.topics import INBOUND
from services.gateway import request_bodies, senders
from services.gateway.domain import cloudevents, unmatched, webhooks
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_relayed
from services.gateway.intake.events import parse_events
from services.gateway.intake.outcome import rows_of
from services.gateway.intake.webhooks import MappedItem
from services.gateway.sources import InboundSource, Producers

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
    """The outcome of a record.

    `sender`: None: the producer is unknown. `error`: why the record, or a part of it, is not accepted; None: it is. `unmatched`:
    the type that the producer states, if no entry of the mapping applies; None: one does.
    """

    sender: InboundSource | None
    events: Sequence[ParsedEvent] = ()
    rows: Sequence[Row] = ()
    error: Exception | None = None
    unmatched: str | None = None

    @property
    def source(self) -> str:
        """The id of the source. Empty: the producer is unknown."""
        return self.sender.id if self.sender else ""


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
    sender = None
    try:
        event, options = cloudevent_of(record)
        sender = sender_of(event, producers)
        if sender.entries:
            return _mapped(event, sender, team, now)
        parsed = parse_events(record.body, cloudevents.STRUCTURED, options, None, key=sender.id, now=now)
        events = [_checked(event, sender, team) for event in parsed]
        return InboundEvent(sender, events, rows_of(events))
    except Exception as error:  # noqa: BLE001  # the failure concerns this record, and those after it are read
        return InboundEvent(sender, error=error)


def _mapped(event: Parsed, sender: InboundSource, team: Team, now: datetime) -> InboundEvent:
    """Return the events that the mapping of the source makes of a CloudEvent. A part that cannot be mapped leaves the others."""
    events: list[ParsedEvent] = []
    error: UnmappableError | None = None
    for item in parse_items(event, sender, team, now):
        if isinstance(item, UnmappableError):
            error = error or item
        else:
            events += [event for event, _ in item]
    if error is None and not events:
        return InboundEvent(sender, unmatched=unmatched.vendor_type(event.value))
    return InboundEvent(sender, events, rows_of(events), error)


def parse_items(
    sent: Parsed, sender: InboundSource, team: Team, now: datetime
) -> Iterator[MappedItem | UnmappableError]:
    """Yield the events of each item that the mapping selects, or its fault. Raises `UnmappableError` for the whole event."""
    event, ids = opened(sent), webhooks.EventIds()
    parse = partial(_parse, event=event, sender=sender, team=team, now=now, altered=sent.altered)
    for item in webhooks.items_of(sender.entries, event, str(event["id"])):
        try:
            yield [(parse(form), entry) for entry, form in webhooks.short_forms(item, ids)]
        except UnmappableError as error:
            yield error.anew()


def opened(sent: Parsed) -> dict[str, Json]:
    """Return the CloudEvent that the expressions of a mapping see. Raises `UnmappableError`."""
    if not isinstance(sent.value, dict):
        raise UnmappableError("#", "is no CloudEvent", _SHAPE)
    return cloudevents.with_data(sent.value, _parse_data)


def _parse(
    form: Mapping[str, Json],
    *,
    event: Mapping[str, Json],
    sender: InboundSource,
    team: Team,
    now: datetime,
    altered: bool,
) -> ParsedEvent:
    """Return an event. It happened at the time of its CloudEvent, unless the mapping names another one."""
    scope = f"inbound:{sender.id}\n{event['source']}\n{form['type']}"
    timed = {"time": event["time"], **form} if event.get("time") is not None else form
    return _checked(parse_relayed(timed, origin=sender.id, scope=scope, now=now, altered=altered), sender, team)


def _parse_data(body: bytes) -> Json:
    return request_bodies.parse_json(body).value


def cloudevent_of(record: InboundBody) -> tuple[Parsed, request_bodies.Options]:
    """Return the structured event of a record, and the options of its content type. Raises `UnmappableError`."""
    if record.fault is not None:
        raise record.fault
    if len(record.body) > SIZE_MAX:
        raise UnmappableError("#", f"has more than {SIZE_MAX // 1024} KiB", "write fewer fields, or shorter ones", 413)
    media, options = request_bodies.parse_content_type(record.content_type.encode("latin-1", "replace"))
    if media != cloudevents.STRUCTURED:
        raise UnmappableError("header:content-type", "is not that of one CloudEvent", _SHAPE, 415)
    event = request_bodies.parse_json(record.body, options)
    if not isinstance(event.value, dict) or "specversion" not in event.value:
        raise UnmappableError("#", "is no CloudEvent", _SHAPE)
    return event, options


def sender_of(event: Parsed, producers: Producers) -> InboundSource:
    """Return the source of the producer. Raises `UnmappableError` 403."""
    producer = event.value.get("source") if isinstance(event.value, dict) else None
    sender = producers.get(producer) if isinstance(producer, str) else None
    sender = sender or producers.get(ANY_PRODUCER)
    if sender is None:
        fault = "is a producer that no source of `kind: kafka` in sources.yaml names"
        raise UnmappableError("#/source", fault, "add it to `producers` of a source, or drop the letter", 403)
    return sender


def _checked(event: ParsedEvent, sender: InboundSource, team: Team) -> ParsedEvent:
    senders.check_source_type(event, sender.id, sender.types, "#")
    return senders.drop_unknown_rep(event, team) if event.type == TOUCH else event


def reason_of(error: Exception) -> str | None:
    """Return the reason for which a record was not accepted, in words. None: the failure is one of ours."""
    if isinstance(error, UnmappableError):
        return str(error)
    return error.detail or error.title if isinstance(error, Problem) else None
