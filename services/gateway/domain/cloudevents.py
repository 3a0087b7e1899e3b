"""Converts CloudEvents 1.0 to the short form: structured, binary (`ce-` headers, on Kafka `ce_`), batch."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import unquote

from firsthour.kernel.normalisation.emails import normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from services.gateway.domain.coerce import Json, UnmappableError

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
PREFIX: Final = b"ce-"
KAFKA_PREFIX: Final = "ce_"
SPECVERSION: Final = "1.0"

Parse = Callable[[bytes], Json]
"""A strict JSON parser. Its errors pass through."""


def short_form(event: Mapping[str, Json], parse: Parse, pointer: str = "#") -> dict[str, Json]:
    """Return the structured `event` in the short form, with its `source`. Raises `UnmappableError`.

    `data` names the person, as in the short form. Without an `email` there, a `subject` that is an address counts.
    """
    short: dict[str, Json] = {"source": _source(event, pointer), "data": _data(event, parse, pointer)}
    for name in ("id", "type", "time"):
        if name in event:
            short[name] = event[name]
    subject, data = event.get("subject"), short["data"]
    if type(subject) is str and "@" in subject and not (type(data) is dict and data.get("email")):
        with suppress(MalformedError):  # a subject may be any text
            short["email"] = normalise_email(subject)
    return short


def with_data(event: Mapping[str, Json], parse: Parse, pointer: str = "#") -> dict[str, Json]:
    """Return the structured `event` with its data as a value, for a mapping. Raises `UnmappableError`."""
    _source(event, pointer)
    id = event.get("id")
    if type(id) is not str or not id:
        raise UnmappableError(f"{pointer}/id", "is missing", "send an id of its own for each event")
    attributes = {name: value for name, value in event.items() if name != "data_base64"}
    return {**attributes, "data": _data(event, parse, pointer)}


def _source(event: Mapping[str, Json], pointer: str) -> str:
    """Return the producer of an event of our version. Raises `UnmappableError`."""
    if event.get("specversion") != SPECVERSION:
        raise UnmappableError(f"{pointer}/specversion", "is not 1.0", 'send CloudEvents 1.0: "specversion": "1.0"')
    source = event.get("source")
    if type(source) is not str or not source:
        raise UnmappableError(f"{pointer}/source", "is missing", "name the origin of the event, such as `/crm`")
    return source


def _data(event: Mapping[str, Json], parse: Parse, pointer: str) -> Json:
    encoded = event.get("data_base64")
    if encoded is None:
        return event.get("data")
    if event.get("data") is not None:
        raise UnmappableError(f"{pointer}/data_base64", "is sent together with `data`", "send one of the two")
    try:
        return parse(base64.b64decode(str(encoded), validate=True))
    except (binascii.Error, UnicodeEncodeError):
        raise UnmappableError(f"{pointer}/data_base64", "is not base64", "send the data as `data`") from None


def attributes(headers: Mapping[bytes, bytes]) -> dict[str, Json]:
    """Return the percent-decoded attributes of a binary event. Raises `UnmappableError`."""
    decoded: dict[str, Json] = {}
    for name, value in headers.items():
        if name.startswith(PREFIX):
            attribute = name[len(PREFIX) :].decode("latin-1")
            decoded[attribute] = _decode(attribute, value)
    return decoded


def kafka_attributes(headers: Iterable[tuple[str, bytes]]) -> dict[str, Json]:
    """Return the attributes of a binary event on Kafka, whose values are plain UTF-8. Raises `UnmappableError`."""
    decoded: dict[str, Json] = {}
    for header, value in headers:
        name = header.lower()
        if not name.startswith(KAFKA_PREFIX):
            continue
        attribute = name[len(KAFKA_PREFIX) :]
        if attribute in decoded:
            raise UnmappableError(f"header:ce_{attribute}", "occurs twice", "send it once")
        try:
            decoded[attribute] = value.decode().replace("\x00", "\ufffd")
        except UnicodeDecodeError:
            raise UnmappableError(f"header:ce_{attribute}", "is not UTF-8", "send its value in UTF-8") from None
    return decoded


def _decode(attribute: str, value: bytes) -> str:
    try:
        text = value.decode()
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        return (
            unquote(text, errors="strict").replace("\x00", "\ufffd") if "%" in text else text.replace("\x00", "\ufffd")
        )
    except UnicodeDecodeError:
        remedy = "percent-encode its UTF-8 bytes"
        raise UnmappableError(f"header:ce-{attribute}", "is not percent-encoded UTF-8", remedy) from None
