"""What a web form sent, read as our short form; where its sender goes next; who may send it at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.gateway.domain.facts import FLAT
from services.gateway.domain.values import Json, UnmappableError, plain

_ANY: Final = "*"
_IDENTIFIERS: Final = ("email", "phone", "anonymous_id")
_CONTROL: Final = ("id", "_id", "_redirect")  # about the post, not about the person
_URL_MAX: Final = 2_000


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
        """People do not see the honeypot and leave it empty."""
        return plain(fields.get(self.honeypot)) is not None or isinstance(fields.get(self.honeypot), dict)

    def goes_on_to(self, fields: Mapping[str, Json]) -> str | None:
        """Where a browser goes next: the field `_redirect`, when it stays with an allowed origin, else the source's own."""
        asked = fields.get("_redirect")
        if isinstance(asked, str) and _origin_of(asked) in self.origins:
            return asked
        return self.redirect


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
    """The fields of a posted form: `company[name]` is `company.name`, and a field sent twice is a list."""
    found: dict[str, Json] = {}
    for name, value in pairs:
        if "[" in name:
            name = name.replace("][", ".").replace("[", ".").rstrip("].") or name
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found


def given_id(fields: Mapping[str, Json]) -> str | None:
    """The sender's own id of this post."""
    found = plain(fields.get("_id")) or plain(fields.get("id"))
    return None if found is None or found is False else str(found)


def short_form(form: Form, fields: Mapping[str, Json], id: str, referer: str | None) -> dict[str, Json]:
    """The post in our short form. Raises `UnmappableError` when nobody could be called or written to."""
    data: dict[str, Json] = {}
    made: dict[str, Json] = {"id": id, "type": "form.submitted", "data": data}
    for name, value in fields.items():
        if name in _CONTROL or name == form.honeypot:
            continue
        usual = name.lower().replace("-", "_")
        if usual in _IDENTIFIERS:
            made[usual] = value.strip() if isinstance(value, str) else value
        elif usual == "crm_id":  # anybody may post a form: nobody becomes a known customer by saying so
            data["custom.crm_id"] = value
        else:
            data[usual if usual in FLAT else name] = value
    if not (made.get("email") or made.get("phone")):
        raise UnmappableError("#/email", "is missing", "send an `email` or a `phone`, so that somebody can answer")
    path = _path_of(referer)
    if path and not data.get("path"):
        data["path"] = path
    data["form"] = form.id
    return made


def _path_of(referer: str | None) -> str | None:
    if not referer:
        return None
    try:
        return urlsplit(referer[:_URL_MAX]).path or None
    except ValueError:
        return None
