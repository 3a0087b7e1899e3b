"""Parses the short form, to which events, forms and webhooks are converted first.

The short form is `{id, type, time?, email|phone|crm_id|anonymous_id, data}`. A parsed event has normalised identifiers,
flat facts about the person, and the fields of the event. Only their shape is verified.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from firsthour.kernel.normalisation.emails import normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from schemas.events.base import Facts, Value
from schemas.events.outside import FLAG_FACTS, FLAG_TIME, OUTSIDE_TYPES, ExternalEvent
from schemas.values import did_you_mean, shown
from services.gateway.domain import coerce
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.event_times import time_of
from services.gateway.domain.facts import NAME_MAX, DataSorter
from services.gateway.domain.identifiers import ID_MAX, identifiers_of

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:firsthour:events")
_IN_NAMESPACE: Final = sha1(NAMESPACE.bytes, usedforsecurity=False)
SHORT_FORM: Final = frozenset({"id", "type", "time", "email", "phone", "crm_id", "anonymous_id", "source", "data"})
CLIENT_CHARS_MAX: Final = 100
CLIENT: Final = "client"
"""A field beside the short form, made by mappings alone: the address of the person's browser."""


class ParsedEvent(msgspec.Struct, frozen=True, gc=False):
    """One external event. `sent_id`: the sender's own id. `event_id`: derived from it, so a retry has the same one.

    `client`: the address of the person's browser, which is counted and not stored; empty: unknown.
    """

    sent_id: str
    event_id: str
    type: str
    at: datetime
    external: ExternalEvent
    client: str = ""


def parse_relayed(
    sent: Mapping[str, Json], *, origin: str, scope: str, now: datetime, altered: bool = False, pointer: str = "#"
) -> ParsedEvent:
    """Parse an event in the short form that may have the address of the client beside it. Otherwise as `parse_event`."""
    if CLIENT not in sent:
        return parse_event(sent, origin=origin, scope=scope, now=now, altered=altered, pointer=pointer)
    client = sent[CLIENT]
    sent = {name: value for name, value in sent.items() if name != CLIENT}
    event = parse_event(sent, origin=origin, scope=scope, now=now, altered=altered, pointer=pointer)
    is_address = isinstance(client, str) and len(client) <= CLIENT_CHARS_MAX
    return msgspec.structs.replace(event, client=client) if is_address else event


def parse_event(
    sent: Mapping[str, Json],
    *,
    origin: str,
    scope: str,
    now: datetime,
    altered: bool = False,
    pointer: str = "#",
    public: bool = False,
) -> ParsedEvent:
    """Parse an event in the short form.

    Args:
        sent: The event in the short form.
        origin: The authenticated source.
        scope: The name space of its ids.
        now: The business time.
        altered: Characters of the body were replaced.
        pointer: The JSON pointer of the event in the body.
        public: The sender is not authenticated. The event must have an email address or a phone number.

    Raises:
        UnmappableError: The event cannot be parsed. Its pointer is below `pointer`.
    """
    if not SHORT_FORM.issuperset(sent):
        _refuse_unknown(sent, pointer)
    type_, sent_id, data = _type(sent, pointer), _id(sent, pointer), sent.get("data")
    if data is None:
        data = {}
    elif type(data) is not dict:
        raise UnmappableError(f"{pointer}/data", "is not an object", 'send {"data": {"form": "demo-request", ...}}')
    sorter = DataSorter(pointer)
    sorter.add(data, type_ == "form.submitted")
    person, fields = sorter.person, sorter.fields
    refine = _OF_TYPE.get(type_)
    if refine is not None:
        refine(fields)
    email, phone, crm_id, anonymous_id = identifiers_of(sent, data, person, type_, pointer, public)
    flags: tuple[str, ...] = (FLAG_FACTS,) if sorter.dropped else ()
    at, sent_time = now, sent.get("time")
    if sent_time is not None:
        at, change = time_of(sent_time, type_, now, pointer)
        altered = altered or change is not None
        if change == FLAG_TIME:
            flags = (*flags, FLAG_TIME)
    external = ExternalEvent(
        source=origin,
        source_id=sent_id,
        received_at=now,
        email=email,
        phone=phone,
        crm_id=crm_id,
        anonymous_id=anonymous_id,
        person=person,
        fields=fields,
        altered=altered,
        flags=flags,
        dropped=sorter.dropped,
    )
    return ParsedEvent(sent_id, event_id(f"{scope}\n{sent_id}"), type_, at, external)


def event_id(name: str) -> str:
    """Return the uuid5 of `name` in `NAMESPACE`. The standard library takes three times as long."""
    hasher = _IN_NAMESPACE.copy()
    hasher.update(name.encode())
    digest = hasher.hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


# --- the frame -----------------------------------------------------------------------------------------------------


def _refuse_unknown(sent: Mapping[str, Json], pointer: str) -> None:
    name = next(name for name in sent if name not in SHORT_FORM)
    place = f"{pointer}/{name[:NAME_MAX].replace('~', '~0').replace('/', '~1')}"
    raise UnmappableError(place, "is not a field of an event", "put fields of the person or the event into `data`")


def _type(sent: Mapping[str, Json], pointer: str) -> str:
    value = sent.get("type")
    if type(value) is str:
        if value in _TYPES or _is_custom(value):
            return value
        remedy = did_you_mean(value[:NAME_MAX], OUTSIDE_TYPES) + " (types of your own: `custom.<name>`)"
        raise UnmappableError(f"{pointer}/type", f"{shown(value)} is not a type of event", remedy)
    raise UnmappableError(f"{pointer}/type", "is missing", "name the type of the event, such as `form.submitted`")


_TYPES: Final = frozenset(OUTSIDE_TYPES)


def _is_custom(name: str) -> bool:
    rest = name.removeprefix("custom.")
    return (
        rest != name
        and 0 < len(rest) <= NAME_MAX
        and rest.isascii()
        and rest.replace("_", "a").replace("-", "a").replace(".", "a").isalnum()
    )


def _id(sent: Mapping[str, Json], pointer: str) -> str:
    value = sent.get("id")
    if type(value) is int:
        return str(value)
    if type(value) is str and value and len(value) <= ID_MAX:
        return value
    fault = "is missing" if value is None or value == "" else f"is not a text of at most {ID_MAX} characters"
    raise UnmappableError(f"{pointer}/id", fault, "send an id of its own for each event; a retry has the same id")


# --- fields by type ----------------------------------------------------------------------------------------------------------


def _touch(fields: Facts) -> None:
    if "answered" in fields:
        fields["answered"] = coerce.boolean(fields["answered"]) is True
    address = fields.get("rep_email")
    if type(address) is str:
        with suppress(MalformedError):  # the touch counts without its rep
            fields["rep_email"] = normalise_email(address)


def _opportunity(fields: Facts) -> None:
    if "id" in fields:
        fields.setdefault("opportunity_id", str(fields.pop("id")))
    _amount(fields)


def _amount(fields: Facts) -> None:
    for name in ("amount", "cost"):
        if name in fields:
            fields[name] = _or_else(coerce.number(fields[name]), fields[name])


def _or_else(value: Value | None, default: Value) -> Value:
    return default if value is None else value


_OF_TYPE: Final[Mapping[str, Callable[[Facts], None]]] = {
    "touch.recorded": _touch,
    "opportunity.changed": _opportunity,
    "cost.recorded": _amount,
}
