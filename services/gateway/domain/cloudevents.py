"""CloudEvents 1.0 as they come over HTTP, read as our short form: structured, binary (`ce-` headers), batch."""

import base64
import binascii
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import unquote

from firsthour.kernel import normalisation
from services.gateway.domain.coerce import Json, UnmappableError

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
PREFIX: Final = b"ce-"
SPECVERSION: Final = "1.0"

Parse = Callable[[bytes], Json]
"""JSON, strictly. Whatever it raises passes through."""


def short_form(event: Mapping[str, Json], parse: Parse, where: str = "#") -> dict[str, Json]:
    """The structured `event` in our short form; its `source` is there too. Raises `UnmappableError`.

    Who it is about stands in `data`, as in the short form; a `subject` that is an address will do as well.
    """
    if event.get("specversion") != SPECVERSION:
        raise UnmappableError(f"{where}/specversion", "is not 1.0", 'send CloudEvents 1.0: "specversion": "1.0"')
    source = event.get("source")
    if type(source) is not str or not source:
        raise UnmappableError(f"{where}/source", "is missing", "name what the event comes from, such as `/crm`")
    made: dict[str, Json] = {"source": source, "data": _data(event, parse, where)}
    for name in ("id", "type", "time"):
        if name in event:
            made[name] = event[name]
    subject, data = event.get("subject"), made["data"]
    if type(subject) is str and "@" in subject and not (type(data) is dict and data.get("email")):
        with suppress(normalisation.MalformedError):  # a subject may be anything
            made["email"] = normalisation.email(subject)
    return made


def _data(event: Mapping[str, Json], parse: Parse, where: str) -> Json:
    encoded = event.get("data_base64")
    if encoded is None:
        return event.get("data")
    if event.get("data") is not None:
        raise UnmappableError(f"{where}/data_base64", "stands beside `data`", "send one of the two")
    try:
        return parse(base64.b64decode(str(encoded), validate=True))
    except (binascii.Error, UnicodeEncodeError):
        raise UnmappableError(f"{where}/data_base64", "is not base64", "send the data as `data`") from None


def attributes(headers: Mapping[bytes, bytes]) -> dict[str, Json]:
    """The attributes of a binary event, percent-decoded as the HTTP binding says. Raises `UnmappableError`."""
    found: dict[str, Json] = {}
    for name, value in headers.items():
        if name.startswith(PREFIX):
            attribute = name[len(PREFIX) :].decode("latin-1")
            found[attribute] = _decoded(attribute, value)
    return found


def _decoded(attribute: str, value: bytes) -> str:
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
