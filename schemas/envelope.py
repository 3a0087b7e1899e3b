"""The CloudEvents 1.0 envelope around every event, in structured JSON, and its codec.

The codec is our own because the reference package takes about 70 us per event; a test compares the two. `partitionkey` is
the extension of that name (the key of the record); `dataschema` names the event and its major version.
"""

import re
from datetime import datetime
from functools import lru_cache
from typing import TypeVar, cast

import msgspec

from schemas.errors import FirstHourError
from schemas.events.base import Event
from schemas.events.catalogue import BY_TYPE
from schemas.events.outside import OUTSIDE_TYPES, ExternalEvent
from schemas.values import shown

E = TypeVar("E", bound=Event)

MAJOR = 1
RECORD_BYTES_MAX = 256 * 1024  # of one encoded event; the topics take four times as much
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as on a topic. `data` stays encoded until it is used."""

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
    """Raised for a record that is not one of ours, or has a major version that this code does not know."""


@lru_cache(maxsize=256)
def dataschema(event_type: str) -> str:
    """Return the name of the schema: `urn:firsthour:<type>:<major>`."""
    return f"urn:firsthour:{event_type}:{MAJOR}"


class RecordTooLargeError(FirstHourError, ValueError):
    """Raised for an event that is larger than a record may be. Its content is at fault: a retry fails again."""


class _Written(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An `Envelope` to be encoded: `data` is encoded together with it."""

    id: str
    source: str
    type: str
    time: datetime
    partitionkey: str
    data: Event
    specversion: str = "1.0"
    datacontenttype: str = "application/json"
    dataschema: str


class _OutsideOrigin(msgspec.Struct, frozen=True, gc=False):
    """The fields that every outside event has, and no other record."""

    source: str
    source_id: str
    received_at: datetime


_OUTSIDE = frozenset(OUTSIDE_TYPES)
_QUOTED = re.compile(r"""(Invalid enum value|unknown field) (['"`]).*\2(?= - at |$)""", re.DOTALL)

_encode = msgspec.json.Encoder().encode
_envelope = msgspec.json.Decoder(Envelope)
_origin = msgspec.json.Decoder(_OutsideOrigin)
_data = {event: msgspec.json.Decoder(event) for event in {*BY_TYPE.values(), ExternalEvent}}


def encode(event: Event, *, id: str, source: str, time: datetime, key: str, type: str | None = None) -> bytes:
    """Return the structured JSON of `event`. `type`: only of outside events, which share one class.

    Raises:
        RecordTooLargeError: above `RECORD_BYTES_MAX`.
    """
    name = type or event.TYPE
    body = _encode(
        _Written(id=id, source=source, type=name, time=time, partitionkey=key, data=event, dataschema=dataschema(name))
    )
    if len(body) > RECORD_BYTES_MAX:
        raise RecordTooLargeError(f"{name} of {len(body)} bytes; a record holds {RECORD_BYTES_MAX} at most")
    return body


def decode(body: bytes) -> Envelope:
    """Return the envelope of a record. Raises `UnknownEventError` for a record of another program."""
    try:
        envelope = _envelope.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise UnknownEventError(f"not a FirstHour event: {_without_values(failure)}") from failure
    if envelope.dataschema != dataschema(envelope.type):
        raise UnknownEventError(f"schema {envelope.dataschema!r}: this code knows {dataschema(envelope.type)!r}")
    return envelope


def data_of(envelope: Envelope, shape: type[E]) -> E:
    """Return the event of an envelope as `shape`. Raises `UnknownEventError` if it does not fit."""
    try:
        return cast(E, _data[shape].decode(envelope.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise UnknownEventError(f"{envelope.type} {envelope.id}: {_without_values(failure)}") from failure


def event_of(envelope: Envelope) -> Event:
    """Return the event of an envelope, as the class of its type. Raises `UnknownEventError`."""
    shape = BY_TYPE.get(envelope.type)
    if shape is None:
        if not _is_outside(envelope):
            raise UnknownEventError(f"type {shown(envelope.type)} is not known to this version")
        shape = ExternalEvent
    return data_of(envelope, shape)


def _is_outside(envelope: Envelope) -> bool:
    """Return whether the event is from outside. The types of a later version are not known here, so the data decides."""
    if envelope.type in _OUTSIDE or envelope.type.startswith("custom."):
        return True
    try:
        _origin.decode(envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _without_values(broken: Exception) -> str:
    """Return the message of a decoder without quoted content: the `error` of a dead letter is listed, its body is not."""
    message = str(broken) if isinstance(broken, msgspec.DecodeError) else type(broken).__name__
    return _QUOTED.sub(r"\1", message)
