"""Parses the short form, to which events, forms and webhooks are converted first.

The short form is `{id, type, time?, email|phone|crm_id|anonymous_id, data}`. A parsed event has normalised identifiers,
flat facts about the person, and the fields of the event. Only their shape is verified.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha1
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from firsthour.kernel.normalisation.emails import normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.normalisation.phones import normalise_phone
from firsthour.kernel.normalisation.texts import normalise_text
from firsthour.kernel.plausible_times import is_possible
from schemas.events.base import Facts, Value
from schemas.events.outside import ABOUT_NO_LEAD, FLAG_FACTS, FLAG_TIME, OUTSIDE_TYPES, ExternalEvent
from schemas.values import did_you_mean, shown
from services.gateway.domain import coerce
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.facts import NAME_MAX, DataSorter

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:firsthour:events")
_IN_NAMESPACE: Final = sha1(NAMESPACE.bytes, usedforsecurity=False)
ID_MAX: Final = 500  # characters
SHORT_FORM: Final = frozenset({"id", "type", "time", "email", "phone", "crm_id", "anonymous_id", "source", "data"})
_LAST_OF_DAY: Final = timedelta(days=1, microseconds=-1)


class ParsedEvent(msgspec.Struct, frozen=True, gc=False):
    """One external event. `sent_id` is the sender's own id. `event_id` is derived from it, so a retry has the same one."""

    sent_id: str
    event_id: str
    type: str
    at: datetime
    external: ExternalEvent


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
    email, phone, crm_id, anonymous_id = _identifiers(sent, data, person, type_, pointer, public)
    flags: tuple[str, ...] = (FLAG_FACTS,) if sorter.dropped else ()
    at, given = now, sent.get("time")
    if given is not None:
        at, change = _happened_at(given, type_, now, pointer)
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
    started = _IN_NAMESPACE.copy()
    started.update(name.encode())
    digest = started.hexdigest()
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
    what = "is missing" if value is None or value == "" else f"is not a text of at most {ID_MAX} characters"
    raise UnmappableError(f"{pointer}/id", what, "give each event an id of its own, and retry it with the same id")


def _happened_at(given: Json, type_: str, now: datetime, pointer: str) -> tuple[datetime, str | None]:
    """Return the time and the change that was made to it. None: no change.

    An impossible time is replaced by `now` and flagged. The time of a fast clock is cut to `now`. A date without a time,
    as CRMs send it, means the end of that day: with its beginning, a deal, a touch or an opt-out would be older than the
    events before it on the same day. For a consent it means the beginning, so that it ends only an older opt-out.
    """
    if type(given) is str and not given.strip():
        return now, None
    at = coerce.parse_time(given, f"{pointer}/time")
    if at is None or not is_possible(at, now):
        return now, FLAG_TIME
    if at <= now and type_ != "consent.given" and coerce.is_date(given):
        return min(at + _LAST_OF_DAY, now), None
    return (at, None) if at <= now else (now, "cut")


# --- identifiers ----------------------------------------------------------------------------------------------------------


def _identifiers(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, type_: str, pointer: str, public: bool
) -> tuple[str | None, str | None, str | None, str | None]:
    email, malformed_email = _email(sent, data, pointer)
    phone, malformed_phone = _phone(sent, data, person, pointer) if "phone" in sent or "phone" in data else (None, None)
    crm_id = _own_id(sent, data, "crm_id", pointer) if "crm_id" in sent or "crm_id" in data else None
    anonymous_id = (
        _own_id(sent, data, "anonymous_id", pointer) if "anonymous_id" in sent or "anonymous_id" in data else None
    )
    if not (email or phone or ((crm_id or anonymous_id) and not public)) and type_ not in ABOUT_NO_LEAD:
        malformed = malformed_email or malformed_phone
        if malformed:
            raise UnmappableError(malformed.pointer, malformed.what, malformed.remedy)
        raise UnmappableError(
            f"{pointer}/email", "is missing", "name the person of the event: email, phone, crm_id or anonymous_id"
        )
    # A malformed identifier is kept under another name: a person may be able to read it.
    if malformed_email and (readable := normalise_text(malformed_email.given, ID_MAX)):
        person["custom.email"] = readable
    if malformed_phone and (readable := normalise_text(malformed_phone.given, ID_MAX)):
        person["phone"] = readable
    return email, phone, crm_id, anonymous_id


class _Malformed(NamedTuple):
    """A malformed identifier. `given` is its text as sent.

    It is not an exception: a stored exception would keep its frame, and so the body, until the garbage collector runs.
    """

    pointer: str
    what: str
    remedy: str
    given: str


def _email(sent: Mapping[str, Json], data: Mapping[str, Json], pointer: str) -> tuple[str | None, _Malformed | None]:
    given = _given(sent, data, "email", pointer)
    if given is None:
        return None, None
    try:
        return normalise_email(given), None
    except MalformedError as error:
        place = _place(sent, "email", pointer)
        return None, _Malformed(place, f"is no address: {_within(error.what)}", error.remedy, given)


def _phone(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, pointer: str
) -> tuple[str | None, _Malformed | None]:
    given = _given(sent, data, "phone", pointer)
    if given is None:
        return None, None
    country = str(person.get("country") or person.get("company.country") or "") or None
    try:
        return normalise_phone(given, country), None
    except MalformedError as error:
        if given[:1] == " ":  # a form decodes the unencoded plus of an international number to a blank
            with suppress(MalformedError):
                return normalise_phone("+" + given.lstrip(), None), None
        place = _place(sent, "phone", pointer)
        return None, _Malformed(place, f"is no number: {_within(error.what)}", error.remedy, given)


def _own_id(sent: Mapping[str, Json], data: Mapping[str, Json], name: str, pointer: str) -> str | None:
    given = _given(sent, data, name, pointer)
    return None if given is None else normalise_text(given) or None


def _given(sent: Mapping[str, Json], data: Mapping[str, Json], name: str, pointer: str) -> str | None:
    """Return the identifier as sent: at the top level, else in `data`. None: there is none."""
    value = sent.get(name)
    if value is None or value == "":
        value = data.get(name)
        if value is None or value == "":
            return None
    if type(value) is int:
        value = str(value)
    if type(value) is not str or len(value) > ID_MAX:
        what = f"is not a text of at most {ID_MAX} characters"
        raise UnmappableError(_place(sent, name, pointer), what, "send it as one text")
    return value


def _place(sent: Mapping[str, Json], name: str, pointer: str) -> str:
    """Return the JSON pointer of the identifier."""
    return f"{pointer}/data/{name}" if sent.get(name) in (None, "") else f"{pointer}/{name}"


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


def _within(sentence: str) -> str:
    """Return a sentence of a library in the form in which it follows a colon."""
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")
