"""Converts the fields of a web form to the short form; decides about its origin, its honeypot and its next page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from firsthour.kernel.field_names import FieldNames
from services.gateway.domain.coerce import Json, UnmappableError, last_value, scalar
from services.gateway.domain.identifiers import ID_MAX

_ANY: Final = "*"
_REACHED_BY: Final = ("email", "phone")
_IDENTIFIERS: Final = (*_REACHED_BY, "anonymous_id")
_CONTROL: Final = ("id", "_id", "_redirect", "_charset_")  # about the post, not the person
_URL_MAX: Final = 2_000
_UNCHECKED: Final = frozenset({"false", "0", "0.0", "off", "no"})  # how scripts send an unchecked checkbox
_COMPANY: Final = "company.name"


_Candidate = tuple[int, str, Json]
"""The rank of a field's name, the name, and the value."""


def field_names(honeypot: str, chosen: Mapping[str, str] | None = None) -> FieldNames:
    """Return the meaning of the names of a form's fields.

    Args:
        honeypot: The field that people leave empty.
        chosen: Their name of our field, by our field, as the source sets it.
    """
    # A form is public, so it must not claim to be a known customer.
    return FieldNames(chosen, control=(*_CONTROL, honeypot), leave=("crm_id",))


@dataclass(frozen=True)
class Form:
    """One form of a `kind: form` source. `redirect`: the next page of a browser. None: a page of the gateway."""

    id: str
    source: str
    honeypot: str
    redirect: str | None
    origins: frozenset[str]  # lower case; may hold `*`
    names: FieldNames = field(compare=False, repr=False)

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin may post the form."""
        return _ANY in self.origins or origin.lower() in self.origins

    def is_robot(self, fields: Mapping[str, Json]) -> bool:
        """Tell whether the honeypot is filled in. People do not see it, so they leave it empty or unchecked."""
        value = fields.get(self.honeypot)
        return any(map(_is_filled, value)) if isinstance(value, list) else _is_filled(value)

    def next_page(self, fields: Mapping[str, Json]) -> str | None:
        """Return the next page: the field `_redirect` if its origin is allowed, else `redirect`."""
        url = fields.get("_redirect")
        if isinstance(url, str) and _origin_of(url) in self.origins:
            return url
        return self.redirect


def _is_filled(value: Json) -> bool:
    if isinstance(value, list | dict):
        return bool(value)
    plain = scalar(value)
    return plain is not None and str(plain).lower() not in _UNCHECKED


def _origin_of(url: str) -> str | None:
    """Return the origin of a URL. None: the URL is not a plain web address."""
    if len(url) > _URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else None


def fields_of(pairs: Iterable[tuple[str, str]]) -> dict[str, Json]:
    """Return the fields of a posted form. `company[name]` becomes `company.name`; a name that ends in `[]` has a list.

    Of a name sent twice, the last value that is not blank counts. A hidden field may thus precede a checkbox.
    """
    fields: dict[str, Json] = {}
    lists: dict[str, list[Json]] = {}
    for name, value in pairs:
        many = name.endswith("[]")
        if "[" in name:
            name = name.replace("][", ".").replace("[", ".").rstrip("].") or name
        if many:
            fields[name] = lists.setdefault(name, [])
            lists[name].append(value)
        elif name not in fields or value.strip():
            fields[name] = value
    return fields


def submitted_id(fields: Mapping[str, Json]) -> str | None:
    """Return the sender's own id of this post. None: it sent none."""
    id = scalar(fields.get("_id")) or scalar(fields.get("id"))
    return None if id is None or id is False else str(id)[:ID_MAX]


def fields_digest(fields: Mapping[str, Json]) -> str:
    """Return a digest of all fields, which is the same for a post and its retry.

    Their bodies may differ: a browser chooses a new boundary for each multipart body.
    """
    return sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()


def short_form(form: Form, fields: Mapping[str, Json], id: str, referer: str | None) -> dict[str, Json]:
    """Return the post in the short form.

    Args:
        form: The form.
        fields: Its fields.
        id: The id of the event.
        referer: The URL of the page. None: unknown.

    Raises:
        UnmappableError: The fields hold neither an email address nor a phone number.
    """
    data: dict[str, Json] = {}
    short: dict[str, Json] = {"id": id, "type": "form.submitted", "data": data}
    names = form.names
    winners: dict[str, _Candidate] = {}
    for name, value in fields.items():
        meaning = names[name]
        if meaning is None:
            data[name] = value
        elif meaning[1]:
            rank, standard = meaning
            if standard == _COMPANY and type(value) is dict:  # `company: {name: ...}`
                data["company"] = value
                continue
            rival = winners.get(standard)
            if rival is None:
                winners[standard] = (rank, name, value)
            else:
                winners[standard] = _better(rival, (rank, name, value), data)
    for standard, (_, _, value) in winners.items():
        if standard in _IDENTIFIERS:
            short[standard] = _identifier(value)
        else:
            data[standard] = value
    if "crm_id" in data:
        data["custom.crm_id"] = data.pop("crm_id")
    _demote_invalid_identifiers(short, data)
    if not (short.get("email") or short.get("phone")):
        raise UnmappableError("#/email", "is missing", "send an `email` or a `phone`, so that a rep can answer")
    path = _path_of(referer)
    if path and not data.get("path"):
        data["path"] = path
    data["form"] = form.id
    return short


def _better(rival: _Candidate, candidate: _Candidate, data: dict[str, Json]) -> _Candidate:
    """Return the better of two fields that mean the same. The other is kept under its own name, if it is filled.

    A filled field is better than an empty one, our own name better than an alias, the first better than the second.
    """
    filled, other_filled = (scalar(last_value(one[2])) is not None for one in (rival, candidate))
    if (other_filled, -candidate[0]) > (filled, -rival[0]):
        rival, candidate, other_filled = candidate, rival, filled
    if other_filled and candidate[2] != rival[2]:
        data[f"custom.{candidate[1]}"] = candidate[2]
    return rival


def _identifier(value: Json) -> Json:
    value = last_value(value)
    if not isinstance(value, str):
        return value
    stripped = value.strip()
    # A blank before a digit may be the unencoded plus of an international number, which `mapping` decides.
    return f" {stripped}" if value[:1] == " " and stripped[:1].isdigit() else stripped


def _demote_invalid_identifiers(short: dict[str, Json], data: dict[str, Json]) -> None:
    """Turn identifiers that are not text into custom facts, if another identifier reaches the person."""
    invalid = [name for name in _IDENTIFIERS if not _can_identify(short.get(name))]
    if invalid and any(short.get(name) for name in _REACHED_BY if name not in invalid):
        for name in invalid:
            data[f"custom.{name}"] = short.pop(name)


def _can_identify(value: Json) -> bool:
    return value is None or type(value) is int or (type(value) is str and len(value) <= ID_MAX)


def _path_of(referer: str | None) -> str | None:
    if not referer:
        return None
    try:
        return urlsplit(referer[:_URL_MAX]).path or None
    except ValueError:
        return None
