"""From the `data` of an event to flat facts about the person and flat fields of the event's own.

Names and values come from strangers: each is cut before it is joined or normalised, and what becomes a fact is counted
while the data is walked, so that the cost is linear in the size of the body.
"""

from collections.abc import Callable, Mapping
from typing import Final

from firsthour.kernel import normalisation
from schemas.conditions import EVENT_FIELDS
from schemas.events import Facts, Value
from schemas.facts import IDENTIFIERS, is_product_fact
from services.gateway.domain import coerce
from services.gateway.domain.coerce import Json, UnmappableError

NAME_MAX: Final = 100  # characters of a field's name
FIELDS_MAX: Final = 200  # facts and fields of one event
DEPTH_MAX: Final = 3  # of objects within objects that become dotted names

Coercion = Callable[[Json], Value | None]

PERSON: Final[Mapping[str, Coercion]] = {
    **dict.fromkeys(("name", "first_name", "last_name", "title"), coerce.text),
    "language": coerce.language,
    "country": coerce.country,
    "consent": coerce.boolean,
    "company.name": coerce.text,
    "company.domain": coerce.domain,
    "company.employees": coerce.headcount,
    "company.industry": coerce.text,
    "company.country": coerce.country,
    "company.revenue": coerce.number,
    **dict.fromkeys(("utm.source", "utm.medium", "utm.campaign", "utm.term", "utm.content"), coerce.text),
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

_FLAT: Final[Mapping[str, tuple[str, Coercion]]] = {name: (known, PERSON[known]) for name, known in FLAT.items()}
_NESTED: Final[Mapping[str, Mapping[str, tuple[str, Coercion]]]] = {
    group: {
        name.removeprefix(f"{group}."): (name, take) for name, take in PERSON.items() if name.startswith(f"{group}.")
    }
    for group in ("company", "utm", "custom")
}
"""The objects that may stand in `data`, and what their parts are with us."""

_PREFIXES: Final = ("custom.", "company.", "utm.")
_STRUCTURE: Final = frozenset({"form", "path", "page", "url", "referrer"})
"""What a submitted form says of itself, not of the person."""


class DataSorter:
    """Sorts the data of one event into `person` and `fields`. `dropped` counts fields that only the product may state."""

    __slots__ = ("_left", "_where", "dropped", "fields", "person")

    def __init__(self, where: str) -> None:
        self.person: Facts = {}
        self.fields: Facts = {}
        self.dropped = 0
        self._left = FIELDS_MAX
        self._where = where

    def take(self, data: Mapping[str, Json], form: bool) -> None:
        """Sort in `data`, of a submitted form or of another event. Raises `UnmappableError` for too many fields."""
        for name, value in data.items():
            if value is None or value == "" or name in IDENTIFIERS:
                continue
            if type(value) is dict and name in _NESTED:
                self._learn_parts(name, value)
            elif (known := _FLAT.get(name)) is not None:
                found = known[1](value)
                if found is None:
                    self._misfit(known, value)
                    continue
                self._count()
                self.person[known[0]] = found
            elif name.startswith(_PREFIXES):
                self._own(self.person, name if name.startswith("custom.") else f"custom.{name[:NAME_MAX]}", value)
            elif not form or name in _STRUCTURE:
                self._own(self.fields, name, value)
            else:  # fields of a form are about the person; rules that name a usual field of events find it too
                self._own(self.person, f"custom.{_name(name)}", value)
                if name in EVENT_FIELDS:
                    self._own(self.fields, name, value)

    def _misfit(self, known: tuple[str, Coercion], value: Json) -> None:
        """A value that is not of its fact's kind is kept as a custom fact."""
        name, take = known
        if value is not None and not (take is coerce.text and type(value) is str):  # such a text is blank
            self._own(self.person, f"custom.{name}", value)

    def _learn_parts(self, group: str, parts: Mapping[str, Json]) -> None:
        """The facts in an object such as `company`."""
        ours = _NESTED[group]
        prefix = "custom" if group == "custom" else f"custom.{group}"
        for name, value in parts.items():
            known = ours.get(name)
            if known is None:
                self._own(self.person, f"{prefix}.{_name(name)}", value)
            elif (found := known[1](value)) is not None:
                self._count()
                self.person[known[0]] = found
            else:
                self._misfit(known, value)

    def _own(self, into: Facts, name: str, value: Json) -> None:
        """A field under the sender's own name; what has parts becomes dotted names."""
        if type(value) is str:
            self._count()
            if text := coerce.clean_text(value):
                name = _name(name)
                if into is self.person:
                    into[name] = text
                else:
                    self._put(into, name, text)
        else:
            self._flatten(into, _name(name), value, 0)

    def _flatten(self, into: Facts, name: str, value: Json, depth: int) -> None:
        if type(value) is dict and depth < DEPTH_MAX:
            for part, inner in value.items():
                self._flatten(into, f"{name}.{_name(part)}"[:NAME_MAX], inner, depth + 1)
            return
        if value is None:
            return
        self._count()
        found = coerce.scalar(value)
        if found is None and value and isinstance(value, list | dict):
            found = coerce.json_text(value)
        if found is not None:
            self._put(into, name, found)

    def _put(self, into: Facts, name: str, value: Value) -> None:
        if into is self.fields and is_product_fact(name):
            self.dropped += 1
        else:
            into[name] = value

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise UnmappableError(f"{self._where}/data", f"has more than {FIELDS_MAX} fields", "send fewer")


def _name(name: str) -> str:
    """A field's name: one word."""
    if name and name.isascii() and name.isprintable() and " " not in name:
        return name[:NAME_MAX]
    return "_".join(normalisation.clean(name, NAME_MAX).split()) or "unnamed"
