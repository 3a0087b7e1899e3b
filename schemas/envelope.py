"""The CloudEvents 1.0 envelope around every event, in structured JSON, and its codec.

Our own codec because the reference package costs some 70 us an event; a test holds ours against it. `partitionkey` is
the extension of that name (the record's key); `dataschema` names our event and its major version.
"""

import re
from datetime import datetime
from functools import lru_cache
from typing import TypeVar, cast

import msgspec

from schemas.errors import FirstHourError
from schemas.events import BY_TYPE, Event, ExternalEvent

E = TypeVar("E", bound=Event)

MAJOR = 1
RECORD_BYTES_MAX = 256 * 1024  # of one encoded event; the topics take four times as much
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as it stands on a topic. `data` stays encoded until somebody wants it."""

    id: str
    source: str
    type: str
    time: datetime
    partitionkey: str
    data: msgspec.Raw
    specversion: str = "1.0"
    datacontenttype: str = "application/json"
    dataschema: str


class UnknownEventError(FirstHourError, ValueError):
    """The record is not one of ours, or of a major version this code does not know."""


@lru_cache(maxsize=256)
def dataschema(event_type: str) -> str:
    """The schema's name: `urn:firsthour:<type>:<major>`."""
    return f"urn:firsthour:{event_type}:{MAJOR}"


class RecordTooLargeError(FirstHourError, ValueError):
    """The event is larger than a record may be. It is the content that is wrong: another try gives the same."""


class _Written(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`Envelope`, on the way out: `data` is encoded with the rest, in one go."""

    id: str
    source: str
    type: str
    time: datetime
    partitionkey: str
    data: Event
    specversion: str = "1.0"
    datacontenttype: str = "application/json"
    dataschema: str


_QUOTED = re.compile(r"""(Invalid enum value|unknown field) (['"`]).*\2(?= - at |$)""", re.DOTALL)

_encode = msgspec.json.Encoder().encode
_envelope = msgspec.json.Decoder(Envelope)
_data = {event: msgspec.json.Decoder(event) for event in {*BY_TYPE.values(), ExternalEvent}}


def encode(event: Event, *, id: str, source: str, time: datetime, key: str, type: str | None = None) -> bytes:
    """The structured JSON of `event`. `type` is given for outside events alone, which share one shape.

    Raises `RecordTooLargeError` above `RECORD_BYTES_MAX`.
    """
    name = type or event.TYPE
    body = _encode(
        _Written(id=id, source=source, type=name, time=time, partitionkey=key, data=event, dataschema=dataschema(name))
    )
    if len(body) > RECORD_BYTES_MAX:
        raise RecordTooLargeError(f"{name} of {len(body)} bytes; a record holds {RECORD_BYTES_MAX} at most")
    return body


def decode(body: bytes) -> Envelope:
    """The envelope of a record. Raises `UnknownEventError` when it is not one of ours."""
    try:
        found = _envelope.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise UnknownEventError(f"not a FirstHour event: {_without_values(broken)}") from broken
    if found.dataschema != dataschema(found.type):
        raise UnknownEventError(f"schema {found.dataschema!r}: this code knows {dataschema(found.type)!r}")
    return found


def data_of(envelope: Envelope, shape: type[E]) -> E:
    """The event inside, as `shape`. Raises `UnknownEventError` when it does not fit."""
    try:
        return cast(E, _data[shape].decode(envelope.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise UnknownEventError(f"{envelope.type} {envelope.id}: {_without_values(broken)}") from broken


def event_of(envelope: Envelope) -> Event:
    """The event inside, as the shape its type names."""
    return data_of(envelope, BY_TYPE.get(envelope.type, ExternalEvent))


def _without_values(broken: Exception) -> str:
    """Return a decoder's message without the content it quotes: `error` of a dead letter is listed, its body is not."""
    said = str(broken) if isinstance(broken, msgspec.DecodeError) else type(broken).__name__
    return _QUOTED.sub(r"\1", said)
