"""Gives custom facts the names and types that the agreement declares for them.

The result for an event depends on the event and the agreement alone, so the order of events has no effect.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from firsthour.kernel import field_names
from firsthour.kernel.conditions.text_forms import fold
from firsthour.kernel.normalisation.typed_values import boolean, day_or_time, number
from schemas.agreement.custom_fields import CustomField
from schemas.events.base import Facts, Value
from schemas.events.outside import ExternalEvent

PREFIX: Final = "custom."
_OF_CRM: Final = frozenset({"lead.updated", "opportunity.changed", "touch.recorded"})
_same_name = lru_cache(maxsize=4_096)(field_names.fold)


@dataclass(frozen=True)
class DeclaredFact:
    """A declared fact: its full name, how a value gets its type, and the only origins; empty: any."""

    name: str
    convert: Callable[[Value], Value | None]
    origins: frozenset[str]


Declared = Mapping[str, DeclaredFact]
"""The declared facts by their names without case, blanks and punctuation."""


def declared_facts(fields: Mapping[str, CustomField]) -> Declared:
    """Return the declared facts. Of two names that differ only in case or punctuation, each means itself."""
    facts = {
        f"{PREFIX}{name}": DeclaredFact(f"{PREFIX}{name}", _converter(field), frozenset(field.from_))
        for name, field in fields.items()
    }
    spellings = {_same_name(name): fact for name, fact in reversed(facts.items())}
    return spellings | facts


def _converter(field: CustomField) -> Callable[[Value], Value | None]:
    match field.type:
        case "number":
            return number
        case "flag":
            return boolean
        case "date":
            return day_or_time
    if not field.one_of:
        return _text
    values = {fold(value): value for value in field.one_of}
    return lambda value: values.get(fold(str(_text(value)).strip()))


def _text(value: Value) -> Value:
    return str(value).lower() if isinstance(value, bool) else str(value)


def origin_of(event: ExternalEvent, type: str) -> str:
    """Return where an event comes from, as `from:` of a custom field names it."""
    if type == "form.submitted":
        return "form"
    if type == "lead.imported":
        return "import"
    return "crm" if event.crm_id or type in _OF_CRM else "event"


def typed(declared: Declared, person: Facts, event: ExternalEvent, type: str, dropped: Counter[str]) -> Facts:
    """Return the facts of an event, the declared ones under their names and with their types.

    A value of another type (`untyped`), or from an origin that the agreement does not name (`origin`), is left out and counted.
    """
    if not declared:
        return person
    facts: Facts = {}
    exact: set[str] = set()
    origin = origin_of(event, type)
    for name, value in person.items():
        if not name.startswith(PREFIX):
            facts[name] = value
            continue
        fact = declared.get(name) or declared.get(_same_name(name))
        if fact is None:
            facts[name] = value
        elif fact.origins and origin not in fact.origins:
            dropped["origin"] += 1
        elif (converted := fact.convert(value)) is None:
            dropped["untyped"] += 1
        elif fact.name not in exact:
            facts[fact.name] = converted
            if name == fact.name:  # the exact name counts more than other spellings of it
                exact.add(name)
    return facts
