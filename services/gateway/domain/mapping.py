"""From what somebody sent to what happened to whom: the one road that events, forms and hooks share.

All three arrive here as our short form (`{id, type, time?, email|phone|crm_id|anonymous_id, data}`); what comes out is
verified in nothing but shape: normalised identifiers, flat facts about the person, the event's own fields.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from schemas.conditions import EVENT_FIELDS
from schemas.events import OUTSIDE_TYPES, Facts, Happened, Value
from schemas.values import did_you_mean, shown
from services.gateway.domain import values
from services.gateway.domain.values import Json, UnmappableError
from services.runtime import normalise

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:firsthour:events")
_IN_NAMESPACE: Final = sha1(NAMESPACE.bytes, usedforsecurity=False)
ID_MAX: Final = 500  # characters
NAME_MAX: Final = 100  # characters of a field's name
FIELDS_MAX: Final = 200  # facts and fields of one event
DEPTH_MAX: Final = 3  # of objects within objects that become dotted names
SHORT_FORM: Final = frozenset({"id", "type", "time", "email", "phone", "crm_id", "anonymous_id", "source", "data"})
NOBODYS: Final = frozenset({"cost.recorded"})  # about no person

Take = Callable[[Json], Value | None]

PERSON: Final[Mapping[str, Take]] = {
    **dict.fromkeys(("name", "first_name", "last_name", "title"), values.text),
    "language": values.language,
    "country": values.country,
    "consent": values.truth,
    "company.name": values.text,
    "company.domain": values.domain,
    "company.employees": values.whole,
    "company.industry": values.text,
    "company.country": values.country,
    "company.revenue": values.number,
    **dict.fromkeys(("utm.source", "utm.medium", "utm.campaign", "utm.term", "utm.content"), values.text),
}
"""What is known of a person by name, and how it is read. Phone and email are identifiers and go their own way."""

FLAT: Final[Mapping[str, str]] = {
    **{name: name for name in PERSON},
    **{name.replace(".", "_"): name for name in PERSON},
    "company": "company.name",
    "employees": "company.employees",
    "industry": "company.industry",
}
"""The names a flat form may use."""

_FLAT: Final[Mapping[str, tuple[str, Take]]] = {name: (known, PERSON[known]) for name, known in FLAT.items()}
_NESTED: Final[Mapping[str, Mapping[str, tuple[str, Take]]]] = {
    group: {
        name.removeprefix(f"{group}."): (name, take) for name, take in PERSON.items() if name.startswith(f"{group}.")
    }
    for group in ("company", "utm", "custom")
}
"""The objects that may stand in `data`, and what their parts are with us."""

_IDENTIFIERS: Final = frozenset({"email", "phone", "crm_id", "anonymous_id"})
_PREFIXES: Final = ("custom.", "company.", "utm.")
_STRUCTURE: Final = frozenset({"form", "path", "page", "url", "referrer"})
"""What a submitted form says of itself, not of the person."""


class Understood(msgspec.Struct, frozen=True, gc=False):
    """One outside event. `sent_id` is the sender's own id, `event_id` ours, the same for each retry."""

    sent_id: str
    event_id: str
    type: str
    at: datetime
    happened: Happened


def understand(
    sent: Mapping[str, Json], *, origin: str, scope: str, now: datetime, altered: bool = False, where: str = "#"
) -> Understood:
    """The event in `sent`, a body in our short form. Raises `UnmappableError`, naming the place below `where`.

    `origin` is the authenticated source; ids are told apart within `scope`.
    """
    if not SHORT_FORM.issuperset(sent):
        _refuse_unknown(sent, where)
    type_, sent_id, data = _type(sent, where), _id(sent, where), sent.get("data")
    if data is None:
        data = {}
    elif type(data) is not dict:
        raise UnmappableError(f"{where}/data", "is not an object", 'send {"data": {"form": "demo-request", ...}}')
    person, fields = _sorted_out(data, type_, where)
    email, phone, crm_id, anonymous_id = _identifiers(sent, data, person, type_, where)
    at, given = now, sent.get("time")
    if given is not None:
        at = values.moment_of(given, f"{where}/time")
        if at > now:
            at, altered = now, True
    happened = Happened(
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
    )
    return Understood(sent_id, event_id(f"{scope}\n{sent_id}"), type_, at, happened)


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


# --- whom ----------------------------------------------------------------------------------------------------------


def _identifiers(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, type_: str, where: str
) -> tuple[str | None, str | None, str | None, str | None]:
    email = _given(sent, data, "email", where)
    if email is not None:
        try:
            email = normalise.email(email)
        except normalise.MalformedError as wrong:
            raise UnmappableError(
                _place(sent, "email", where), f"is no address: {_within(wrong.what)}", wrong.remedy
            ) from None
    crm_id, anonymous_id = _given(sent, data, "crm_id", where), _given(sent, data, "anonymous_id", where)
    if crm_id is not None:
        crm_id = normalise.clean(crm_id) or None
    if anonymous_id is not None:
        anonymous_id = normalise.clean(anonymous_id) or None
    phone = _given(sent, data, "phone", where)
    if phone is not None:
        try:
            phone = normalise.phone(phone, str(person.get("country") or person.get("company.country") or "") or None)
        except normalise.MalformedError as wrong:
            if not (email or crm_id or anonymous_id):
                raise UnmappableError(
                    _place(sent, "phone", where), f"is no number: {_within(wrong.what)}", wrong.remedy
                ) from None
            if readable := normalise.clean(phone):
                person["phone"] = readable  # no identifier, but a person may still be able to read it
            phone = None
    if not (email or phone or crm_id or anonymous_id) and type_ not in NOBODYS:
        raise UnmappableError(
            f"{where}/email", "is missing", "say whose event this is: email, phone, crm_id or anonymous_id"
        )
    return email, phone, crm_id, anonymous_id


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


def _sorted_out(data: dict[str, Json], type_: str, where: str) -> tuple[Facts, Facts]:
    """Facts about the person, and the event's own fields."""
    person: Facts = {}
    fields: Facts = {}
    form = type_ == "form.submitted"
    for name, value in data.items():
        if value is None or value == "" or name in _IDENTIFIERS:
            continue
        if type(value) is dict and name in _NESTED:
            _learn_parts(person, name, value)
        elif (known := _FLAT.get(name)) is not None:
            found = known[1](value)
            if found is not None:
                person[known[0]] = found
            else:
                _misfit(person, known, value)
        elif name.startswith(_PREFIXES):
            _own(person, name if name.startswith("custom.") else f"custom.{name}", value)
        elif not form or name in _STRUCTURE:
            _own(fields, name, value)
        else:  # what a form asks is about the person; rules that name a usual field of events find it too
            _own(person, f"custom.{name}", value)
            if name in EVENT_FIELDS:
                _own(fields, name, value)
    refine = _OF_TYPE.get(type_)
    if refine is not None:
        refine(fields)
    if len(person) + len(fields) > FIELDS_MAX:
        raise UnmappableError(f"{where}/data", f"has more than {FIELDS_MAX} fields", "send fewer")
    return person, fields


def _learn_parts(person: Facts, group: str, parts: Mapping[str, Json]) -> None:
    """The facts in an object such as `company`."""
    ours = _NESTED[group]
    for name, value in parts.items():
        known = ours.get(name)
        if known is not None:
            found = known[1](value)
            if found is not None:
                person[known[0]] = found
            else:
                _misfit(person, known, value)
        else:
            _own(person, f"custom.{name}" if group == "custom" else f"custom.{group}.{name}", value)


def _misfit(person: Facts, known: tuple[str, Take], value: Json) -> None:
    """A value that is not of its fact's kind is kept as a custom fact."""
    name, take = known
    if value is not None and not (take is values.text and type(value) is str):  # such a text is blank
        _own(person, f"custom.{name}", value)


def _own(into: Facts, name: str, value: Json) -> None:
    """A field under the sender's own name; what has parts becomes dotted names."""
    if type(value) is str:
        if text := values.cleaned(value):
            into[_name(name)] = text
    else:
        _flatten(into, name, value, 0)


def _flatten(into: Facts, name: str, value: Json, depth: int) -> None:
    if type(value) is dict and depth < DEPTH_MAX:
        for part, inner in value.items():
            _flatten(into, f"{name}.{part}", inner, depth + 1)
        return
    found = values.plain(value)
    if found is None and value and isinstance(value, list | dict):
        found = values.as_json(value)
    if found is not None:
        into[_name(name)] = found


def _name(name: str) -> str:
    """A field's name: one word."""
    if name and name.isascii() and name.isprintable() and " " not in name:
        return name[:NAME_MAX]
    return "_".join(normalise.clean(name).split())[:NAME_MAX] or "unnamed"


def _touch(fields: Facts) -> None:
    if "answered" in fields:
        fields["answered"] = values.truth(fields["answered"]) is True
    address = fields.get("rep_email")
    if type(address) is str:
        with suppress(normalise.MalformedError):  # the touch counts, whoever made it
            fields["rep_email"] = normalise.email(address)


def _opportunity(fields: Facts) -> None:
    if "id" in fields:
        fields.setdefault("opportunity_id", str(fields.pop("id")))
    _amount(fields)


def _amount(fields: Facts) -> None:
    for name in ("amount", "cost"):
        if name in fields:
            fields[name] = _or_else(values.number(fields[name]), fields[name])


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
