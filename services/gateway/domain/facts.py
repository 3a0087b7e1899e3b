"""Converts the `data` of an event to flat facts about the person and to flat fields of the event.

Names and values are not trusted. Each is cut before it is joined or normalised, and facts are counted while the data is
walked. The cost is therefore linear in the size of the body.
"""

from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from firsthour.kernel.normalisation.texts import normalise_text
from schemas.conditions.fields import EVENT_FIELDS
from schemas.events.base import Facts, Value
from schemas.facts import IDENTIFIERS, is_product_fact
from schemas.form_fields import SHORT_NAMES
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
"""The facts about a person and how their values are converted. Phone and email are identifiers, not facts."""

FLAT: Final[Mapping[str, str]] = {
    **{name: name for name in PERSON},
    **{name.replace(".", "_"): name for name in PERSON},
    **SHORT_NAMES,
}
"""The names that a flat form may use."""

_FLAT: Final[Mapping[str, tuple[str, Coercion]]] = {name: (fact, PERSON[fact]) for name, fact in FLAT.items()}
_NESTED: Final[Mapping[str, Mapping[str, tuple[str, Coercion]]]] = {
    group: {
        name.removeprefix(f"{group}."): (name, convert)
        for name, convert in PERSON.items()
        if name.startswith(f"{group}.")
    }
    for group in ("company", "utm", "custom")
}
"""The objects that `data` may hold, and the facts that their members are."""

_PREFIXES: Final = ("custom.", "company.", "utm.")
_STRUCTURE: Final = frozenset({"form", "path", "page", "url", "referrer"})
"""Fields of a submitted form that describe the form, not the person."""


class DataSorter:
    """Sorts the data of one event into `person` and `fields`.

    `dropped` counts the fields whose names are reserved for facts that the product states.
    """

    __slots__ = ("_left", "_pointer", "dropped", "fields", "person")

    def __init__(self, pointer: str) -> None:
        self.person: Facts = {}
        self.fields: Facts = {}
        self.dropped = 0
        self._left = FIELDS_MAX
        self._pointer = pointer

    def add(self, data: Mapping[str, Json], form: bool) -> None:
        """Add `data`. `form`: the event is a submitted form. Raises `UnmappableError` for too many fields."""
        person = self.person
        for name, value in data.items():
            if value is None or value == "" or name in IDENTIFIERS:
                continue
            if type(value) is dict and name in _NESTED:
                self._add_members(name, value)
            elif (fact := _FLAT.get(name)) is not None:
                converted = fact[1](value)
                if converted is None:
                    self._add_unconverted(fact, value)
                    continue
                self._left -= 1  # as `_count`, for most fields
                if self._left < 0:
                    self._reject_many()
                person[fact[0]] = converted
            elif name.startswith(_PREFIXES):
                self._add(self.person, name if name.startswith("custom.") else f"custom.{name[:NAME_MAX]}", value)
            elif not form or name in _STRUCTURE:
                self._add(self.fields, name, value)
            else:  # fields of a form describe the person; rules may also match the usual fields of events
                self._add(self.person, f"custom.{_name(name)}", value)
                if name in EVENT_FIELDS:
                    self._add(self.fields, name, value)

    def _add_unconverted(self, fact: tuple[str, Coercion], value: Json) -> None:
        """Add a value that is not of its fact's type as a custom fact."""
        name, convert = fact
        if value is not None and not (convert is coerce.text and type(value) is str):  # the text is blank
            self._add(self.person, f"custom.{name}", value)

    def _add_members(self, group: str, parts: Mapping[str, Json]) -> None:
        """Add the facts in an object such as `company`."""
        facts = _NESTED[group]
        prefix = "custom" if group == "custom" else f"custom.{group}"
        for name, value in parts.items():
            fact = facts.get(name)
            if fact is None:
                self._add(self.person, f"{prefix}.{_name(name)}", value)
            elif (converted := fact[1](value)) is not None:
                self._count()
                self.person[fact[0]] = converted
            else:
                self._add_unconverted(fact, value)

    def _add(self, into: Facts, name: str, value: Json) -> None:
        """Add a field under the sender's own name. An object becomes fields with dotted names."""
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
            for member, inner in value.items():
                self._flatten(into, f"{name}.{_name(member)}"[:NAME_MAX], inner, depth + 1)
            return
        if value is None:
            return
        self._count()
        converted = coerce.scalar(value)
        if converted is None and value and isinstance(value, list | dict):
            converted = coerce.json_text(value)
        if converted is not None:
            self._put(into, name, converted)

    def _put(self, into: Facts, name: str, value: Value) -> None:
        if into is self.fields and is_product_fact(name):
            self.dropped += 1
        else:
            into[name] = value

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._reject_many()

    def _reject_many(self) -> NoReturn:
        raise UnmappableError(f"{self._pointer}/data", f"has more than {FIELDS_MAX} fields", "send fewer fields")


def _name(name: str) -> str:
    """Return the name of a field as one word."""
    if name and name.isascii() and name.isprintable() and " " not in name:
        return name[:NAME_MAX]
    return "_".join(normalise_text(name, NAME_MAX).split()) or "unnamed"
