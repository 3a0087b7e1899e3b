"""What a web form sent, read as our short form; where its sender goes next; who may send it at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.gateway.domain.coerce import Json, UnmappableError, last_value, scalar
from services.gateway.domain.facts import FLAT, NAME_MAX
from services.gateway.domain.mapping import ID_MAX

_ANY: Final = "*"
_REACHED_BY: Final = ("email", "phone")
_IDENTIFIERS: Final = (*_REACHED_BY, "anonymous_id")
_CONTROL: Final = ("id", "_id", "_redirect", "_charset_")  # about the post, not about the person
_URL_MAX: Final = 2_000
_UNCHECKED: Final = frozenset({"false", "0", "0.0", "off", "no"})  # how scripts write a checkbox left alone
_ALIASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("e_mail", "mail", "email_address", "your_email", "work_email", "business_email"), "email"),
    **dict.fromkeys(("tel", "telephone", "phone_number", "your_phone", "your_tel", "mobile", "mobile_phone"), "phone"),
    **dict.fromkeys(("your_name", "full_name", "fullname"), "name"),
    **dict.fromkeys(("company_size", "number_of_employees", "numemployees", "employee_count"), "employees"),
    "your_message": "message",
    "your_company": "company",
    "firstname": "first_name",
    "lastname": "last_name",
}
"""Names that common form plugins give to our fields. A field of our own name goes before them."""


@dataclass(frozen=True)
class Form:
    """One form of a `kind: form` source."""

    id: str
    source: str
    honeypot: str
    redirect: str | None
    origins: frozenset[str]  # lower case; may hold `*`

    def allows(self, origin: str) -> bool:
        """Whether pages of that origin may post here."""
        return _ANY in self.origins or origin.lower() in self.origins

    def is_robot(self, fields: Mapping[str, Json]) -> bool:
        """People do not see the honeypot: they leave its text empty and its checkbox alone."""
        found = fields.get(self.honeypot)
        return any(map(_is_filled, found)) if isinstance(found, list) else _is_filled(found)

    def next_page(self, fields: Mapping[str, Json]) -> str | None:
        """Where a browser goes next: the field `_redirect`, when it stays with an allowed origin, else the source's own."""
        asked = fields.get("_redirect")
        if isinstance(asked, str) and _origin_of(asked) in self.origins:
            return asked
        return self.redirect


def _is_filled(value: Json) -> bool:
    if isinstance(value, list | dict):
        return bool(value)
    found = scalar(value)
    return found is not None and str(found).lower() not in _UNCHECKED


def _origin_of(url: str) -> str | None:
    """The origin of a plain web address; None for whatever else one might try to be sent to."""
    if len(url) > _URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else None


def fields_of(pairs: Iterable[tuple[str, str]]) -> dict[str, Json]:
    """The fields of a posted form: `company[name]` is `company.name`, and a name that ends in `[]` holds a list.

    Of a name sent twice, the last value that says something counts: so a hidden field stands in for a checkbox.
    """
    found: dict[str, Json] = {}
    lists: dict[str, list[Json]] = {}
    for name, value in pairs:
        many = name.endswith("[]")
        if "[" in name:
            name = name.replace("][", ".").replace("[", ".").rstrip("].") or name
        if many:
            found[name] = lists.setdefault(name, [])
            lists[name].append(value)
        elif name not in found or value.strip():
            found[name] = value
    return found


def submitted_id(fields: Mapping[str, Json]) -> str | None:
    """The sender's own id of this post."""
    found = scalar(fields.get("_id")) or scalar(fields.get("id"))
    return None if found is None or found is False else str(found)[:ID_MAX]


def fields_digest(fields: Mapping[str, Json]) -> str:
    """Return a digest of all fields, which a post and its retry share.

    The bodies may differ, since a browser makes up a new boundary for each multipart body.
    """
    return sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()


def short_form(form: Form, fields: Mapping[str, Json], id: str, referer: str | None) -> dict[str, Json]:
    """The post in our short form. Raises `UnmappableError` when nobody could be called or written to."""
    data: dict[str, Json] = {}
    made: dict[str, Json] = {"id": id, "type": "form.submitted", "data": data}
    aliases: list[tuple[str, str, Json]] = []
    for name, value in fields.items():
        if name in _CONTROL or name == form.honeypot:
            continue
        usual = name[:NAME_MAX].lower().replace("-", "_").replace(" ", "_")
        if usual in _ALIASES:
            aliases.append((name, _ALIASES[usual], value))
        elif usual in _IDENTIFIERS:
            _put(made, usual, _identifier(value))
        elif usual == "crm_id":  # anybody may post a form: nobody becomes a known customer by saying so
            data["custom.crm_id"] = value
        else:
            _put(data, usual if usual in FLAT else name, value)
    for name, ours, value in aliases:
        into = made if ours in _IDENTIFIERS else data
        if scalar(into.get(ours)) is None:
            into[ours] = _identifier(value) if ours in _IDENTIFIERS else value
        else:
            data[name] = value
    _keep_apart_what_is_no_text(made, data)
    if not (made.get("email") or made.get("phone")):
        raise UnmappableError("#/email", "is missing", "send an `email` or a `phone`, so that somebody can answer")
    path = _path_of(referer)
    if path and not data.get("path"):
        data["path"] = path
    data["form"] = form.id
    return made


def _put(into: dict[str, Json], name: str, value: Json) -> None:
    """Set a field, but never replace a value by an empty one: `Email` and `email` may both be there."""
    if name not in into or isinstance(value, dict) or scalar(value) is not None:
        into[name] = value


def _identifier(value: Json) -> Json:
    value = last_value(value)
    if not isinstance(value, str):
        return value
    stripped = value.strip()
    # The blank before a digit may have been the plus of an international number: the reading of numbers decides.
    return f" {stripped}" if value[:1] == " " and stripped[:1].isdigit() else stripped


def _keep_apart_what_is_no_text(made: dict[str, Json], data: dict[str, Json]) -> None:
    """Turn identifiers that are no text into custom facts if the person can be reached by another one."""
    wrong = [name for name in _IDENTIFIERS if not _can_identify(made.get(name))]
    if wrong and any(made.get(name) for name in _REACHED_BY if name not in wrong):
        for name in wrong:
            data[f"custom.{name}"] = made.pop(name)


def _can_identify(value: Json) -> bool:
    return value is None or type(value) is int or (type(value) is str and len(value) <= ID_MAX)


def _path_of(referer: str | None) -> str | None:
    if not referer:
        return None
    try:
        return urlsplit(referer[:_URL_MAX]).path or None
    except ValueError:
        return None
