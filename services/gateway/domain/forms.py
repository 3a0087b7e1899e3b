"""Converts the fields of a web form to the short form; decides about its origin, its honeypot and its next page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from firsthour.kernel.field_names import FieldNames
from services.gateway.domain.coerce import Json, UnmappableError, scalar
from services.gateway.domain.identifiers import ID_MAX
from services.gateway.domain.named_fields import named_fields

_ANY: Final = "*"
_REACHED_BY: Final = ("email", "phone")
_IDENTIFIERS: Final = (*_REACHED_BY, "anonymous_id")
ELAPSED: Final = "_ms"
"""The field with the milliseconds between opening the page and sending the form."""
ELAPSED_MIN: Final = 1_000
"""A person takes longer to read and send a form, even if the browser fills it in."""
_CONTROL: Final = ("id", "_id", "_redirect", "_charset_", ELAPSED)  # about the post, not the person
_URL_MAX: Final = 2_000
_UNCHECKED: Final = frozenset({"false", "0", "0.0", "off", "no"})  # how scripts send an unchecked checkbox


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
        """Tell whether the honeypot is filled in, which people do not see, or the form was sent at once."""
        elapsed = fields.get(ELAPSED)
        if type(elapsed) is int and 0 <= elapsed < ELAPSED_MIN:
            return True
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
    kept = {name: value for name, value in fields.items() if name != ELAPSED}
    return sha256(msgspec.json.encode(kept, order="deterministic")).hexdigest()


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
    identifiers, data = named_fields(form.names, fields)
    short: dict[str, Json] = {"id": id, "type": "form.submitted", "data": data, **identifiers}
    if not (short.get("email") or short.get("phone")):
        raise UnmappableError("#/email", "is missing", "send an `email` or a `phone`, so that a rep can answer")
    path = _path_of(referer)
    if path and not data.get("path"):
        data["path"] = path
    data["form"] = form.id
    return short


def _path_of(referer: str | None) -> str | None:
    if not referer:
        return None
    try:
        return urlsplit(referer[:_URL_MAX]).path or None
    except ValueError:
        return None
