"""From what somebody sent to what happened to whom: the one road that events, forms and hooks share.

All three arrive here as our short form (`{id, type, time?, email|phone|crm_id|anonymous_id, data}`); what comes out is
verified in nothing but shape: normalised identifiers, flat facts about the person, the event's own fields.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha1
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from firsthour.kernel import normalisation
from firsthour.kernel.plausible_times import is_possible
from schemas.events import ABOUT_NO_LEAD, FLAG_FACTS, FLAG_TIME, OUTSIDE_TYPES, ExternalEvent, Facts, Value
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
    """One outside event. `sent_id` is the sender's own id, `event_id` ours, the same for each retry."""

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
    where: str = "#",
    public: bool = False,
) -> ParsedEvent:
    """The event in `sent`, a body in our short form. Raises `UnmappableError`, naming the place below `where`.

    `origin` is the authenticated source; ids are told apart within `scope`. `public`: anybody may have sent it, so it
    must say how to answer, by an email address or a phone number.
    """
    if not SHORT_FORM.issuperset(sent):
        _refuse_unknown(sent, where)
    type_, sent_id, data = _type(sent, where), _id(sent, where), sent.get("data")
    if data is None:
        data = {}
    elif type(data) is not dict:
        raise UnmappableError(f"{where}/data", "is not an object", 'send {"data": {"form": "demo-request", ...}}')
    sorter = DataSorter(where)
    sorter.take(data, type_ == "form.submitted")
    person, fields = sorter.person, sorter.fields
    refine = _OF_TYPE.get(type_)
    if refine is not None:
        refine(fields)
    email, phone, crm_id, anonymous_id = _identifiers(sent, data, person, type_, where, public)
    flags: tuple[str, ...] = (FLAG_FACTS,) if sorter.dropped else ()
    at, given = now, sent.get("time")
    if given is not None:
        at, change = _happened_at(given, type_, now, where)
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
    """uuid5 of `name` in our namespace, in a third of the time the standard library takes."""
    started = _IN_NAMESPACE.copy()
    started.update(name.encode())
    digest = started.hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


# --- the frame -----------------------------------------------------------------------------------------------------


def _refuse_unknown(sent: Mapping[str, Json], where: str) -> None:
    name = next(name for name in sent if name not in SHORT_FORM)
    pointer = f"{where}/{name[:NAME_MAX].replace('~', '~0').replace('/', '~1')}"
    raise UnmappableError(
        pointer, "is not a field of an event", "put what describes the person or the event into `data`"
    )


def _type(sent: Mapping[str, Json], where: str) -> str:
    found = sent.get("type")
    if type(found) is str:
        if found in _TYPES or _is_custom(found):
            return found
        remedy = did_you_mean(found[:NAME_MAX], OUTSIDE_TYPES) + " (your own: `custom.<name>`)"
        raise UnmappableError(f"{where}/type", f"{shown(found)} is not a type of event", remedy)
    raise UnmappableError(f"{where}/type", "is missing", "name the type of the event, such as `form.submitted`")


_TYPES: Final = frozenset(OUTSIDE_TYPES)


def _is_custom(name: str) -> bool:
    rest = name.removeprefix("custom.")
    return (
        rest != name
        and 0 < len(rest) <= NAME_MAX
        and rest.isascii()
        and rest.replace("_", "a").replace("-", "a").replace(".", "a").isalnum()
    )


def _id(sent: Mapping[str, Json], where: str) -> str:
    found = sent.get("id")
    if type(found) is int:
        return str(found)
    if type(found) is str and found and len(found) <= ID_MAX:
        return found
    what = "is missing" if found is None or found == "" else f"is not a text of at most {ID_MAX} characters"
    raise UnmappableError(f"{where}/id", what, "give each event an id of its own, and send the same one when you retry")


def _happened_at(given: Json, type_: str, now: datetime, where: str) -> tuple[datetime, str | None]:
    """Return the time and the change made: an impossible time counts as now and is flagged, a fast clock's is cut.

    A date alone, as CRMs give it, is the end of that day: its midnight would make a deal, a touch or an opt-out older than
    what it followed on the same day. A consent is the beginning: it ends only an opt-out that is surely older.
    """
    if type(given) is str and not given.strip():
        return now, None
    at = coerce.parse_time(given, f"{where}/time")
    if at is None or not is_possible(at, now):
        return now, FLAG_TIME
    if at <= now and type_ != "consent.given" and coerce.is_date(given):
        return min(at + _LAST_OF_DAY, now), None
    return (at, None) if at <= now else (now, "cut")


# --- whom ----------------------------------------------------------------------------------------------------------


def _identifiers(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, type_: str, where: str, public: bool
) -> tuple[str | None, str | None, str | None, str | None]:
    email, wrong_email = _email(sent, data, where)
    phone, wrong_phone = _phone(sent, data, person, where) if "phone" in sent or "phone" in data else (None, None)
    crm_id = _own_id(sent, data, "crm_id", where) if "crm_id" in sent or "crm_id" in data else None
    anonymous_id = (
        _own_id(sent, data, "anonymous_id", where) if "anonymous_id" in sent or "anonymous_id" in data else None
    )
    if not (email or phone or ((crm_id or anonymous_id) and not public)) and type_ not in ABOUT_NO_LEAD:
        wrong = wrong_email or wrong_phone
        if wrong:
            raise UnmappableError(wrong.pointer, wrong.what, wrong.remedy)
        raise UnmappableError(
            f"{where}/email", "is missing", "say whose event this is: email, phone, crm_id or anonymous_id"
        )
    # An identifier that is malformed is kept under another name: a person may still be able to read it.
    if wrong_email and (readable := normalisation.clean(wrong_email.given, ID_MAX)):
        person["custom.email"] = readable
    if wrong_phone and (readable := normalisation.clean(wrong_phone.given, ID_MAX)):
        person["phone"] = readable
    return email, phone, crm_id, anonymous_id


class _Malformed(NamedTuple):
    """An identifier is malformed. `given` is its text as sent.

    No exception: one that a frame holds and raises keeps the frame, and with it the body, until the collector runs.
    """

    pointer: str
    what: str
    remedy: str
    given: str


def _email(sent: Mapping[str, Json], data: Mapping[str, Json], where: str) -> tuple[str | None, _Malformed | None]:
    given = _given(sent, data, "email", where)
    if given is None:
        return None, None
    try:
        return normalisation.email(given), None
    except normalisation.MalformedError as wrong:
        place = _place(sent, "email", where)
        return None, _Malformed(place, f"is no address: {_within(wrong.what)}", wrong.remedy, given)


def _phone(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, where: str
) -> tuple[str | None, _Malformed | None]:
    given = _given(sent, data, "phone", where)
    if given is None:
        return None, None
    country = str(person.get("country") or person.get("company.country") or "") or None
    try:
        return normalisation.phone(given, country), None
    except normalisation.MalformedError as wrong:
        if given[:1] == " ":  # the plus of an international number, posted without encoding, is decoded as a blank
            with suppress(normalisation.MalformedError):
                return normalisation.phone("+" + given.lstrip(), None), None
        place = _place(sent, "phone", where)
        return None, _Malformed(place, f"is no number: {_within(wrong.what)}", wrong.remedy, given)


def _own_id(sent: Mapping[str, Json], data: Mapping[str, Json], name: str, where: str) -> str | None:
    given = _given(sent, data, name, where)
    return None if given is None else normalisation.clean(given) or None


def _given(sent: Mapping[str, Json], data: Mapping[str, Json], name: str, where: str) -> str | None:
    """The identifier at the top, else in `data`, as written."""
    found = sent.get(name)
    if found is None or found == "":
        found = data.get(name)
        if found is None or found == "":
            return None
    if type(found) is int:
        found = str(found)
    if type(found) is not str or len(found) > ID_MAX:
        what = f"is not a text of at most {ID_MAX} characters"
        raise UnmappableError(_place(sent, name, where), what, "send it as one text")
    return found


def _place(sent: Mapping[str, Json], name: str, where: str) -> str:
    """Where that identifier stands."""
    return f"{where}/data/{name}" if sent.get(name) in (None, "") else f"{where}/{name}"


# --- what ----------------------------------------------------------------------------------------------------------


def _touch(fields: Facts) -> None:
    if "answered" in fields:
        fields["answered"] = coerce.boolean(fields["answered"]) is True
    address = fields.get("rep_email")
    if type(address) is str:
        with suppress(normalisation.MalformedError):  # the touch counts, whoever made it
            fields["rep_email"] = normalisation.email(address)


def _opportunity(fields: Facts) -> None:
    if "id" in fields:
        fields.setdefault("opportunity_id", str(fields.pop("id")))
    _amount(fields)


def _amount(fields: Facts) -> None:
    for name in ("amount", "cost"):
        if name in fields:
            fields[name] = _or_else(coerce.number(fields[name]), fields[name])


def _or_else(found: Value | None, otherwise: Value) -> Value:
    return otherwise if found is None else found


_OF_TYPE: Final[Mapping[str, Callable[[Facts], None]]] = {
    "touch.recorded": _touch,
    "opportunity.changed": _opportunity,
    "cost.recorded": _amount,
}


def _within(sentence: str) -> str:
    """A library's sentence, as it reads after a colon."""
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")
