"""The bounds of a profile: the facts and hits that are stored.

A profile holds at most 100 custom facts and 32 kB of facts, and a bounded number of engagement hits. The result depends
on the set of facts, not on the order of arrival. The proof: `docs/decisions/0018-bounded-profiles.md`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from schemas.agreement.agreement import Agreement
from schemas.agreement.promises import CompletePromise
from schemas.conditions.fields import EVENT_FIELDS, PERSON_FIELDS
from schemas.conditions.tree import Node, tests
from schemas.events.base import Facts, Value
from schemas.facts import is_product_fact
from schemas.values import Shape

CUSTOM_PREFIX: Final = "custom."
STANDARD_FACTS: Final = frozenset(PERSON_FIELDS) - {"email"}
"""The facts that a profile can have besides custom facts."""

CUSTOM_FACTS_MAX: Final = 100
NAME_BYTES_MAX: Final = 72  # of a custom fact
VALUE_BYTES_MAX: Final = 56  # of a custom fact that no rule names
TEXTS_MAX: Final = 4  # long values of custom facts that are stored in full beside the facts
TEXT_BYTES_MAX: Final = 2_000
STANDARD_BYTES_MAX: Final = 220  # of the text of a standard fact
NAMED_BYTES_MAX: Final = 6_144  # shared by the values of the custom facts that rules name
HITS_MAX: Final = 100  # of one engagement rule
FIELDS_BYTES_MAX: Final = 16_384  # of the event's own fields in a record
_SMALL: Final = 4_000  # fields with at most this many characters are certainly within the bounds
_CUT: Final = "\u2026"

DatedValue = tuple[Value, int]
"""A value and its time (microseconds)."""


class NamedFacts(NamedTuple):
    """The custom facts that the agreement names, and the largest size of each of their values."""

    names: frozenset[str]
    value_bytes: int


def named_facts(agreement: Agreement) -> NamedFacts:
    """Return the custom facts that the agreement names or declares, at most 100 in the order of names. Other facts never displace them."""
    fields = {test.field for node in _conditions(agreement) for test in tests(node)}
    fields |= {f"{CUSTOM_PREFIX}{name}" for name in agreement.custom_fields}
    for promise in agreement.promises.marketing:
        fields |= set(promise.complete) if isinstance(promise, CompletePromise) else set()
    names = sorted(name for name in fields if name.startswith(CUSTOM_PREFIX))[:CUSTOM_FACTS_MAX]
    share = NAMED_BYTES_MAX // max(1, len(names))
    return NamedFacts(frozenset(names), min(TEXT_BYTES_MAX, max(VALUE_BYTES_MAX, share)))


def _conditions(part: object) -> Iterator[Node]:
    """Yield every condition in all sections of the agreement."""
    if isinstance(part, Node):
        yield part
    elif isinstance(part, Shape):
        for value in vars(part).values():
            yield from _conditions(value)
    elif isinstance(part, Mapping | tuple):
        for value in part.values() if isinstance(part, Mapping) else part:
            yield from _conditions(value)


# --- values and names ----------------------------------------------------------------------------------------------


def shorten(text: str, bytes_max: int) -> str:
    """Return the text, shortened to at most `bytes_max` bytes of UTF-8. A shortened text ends with an ellipsis."""
    if len(text) * 4 <= bytes_max or (len(text) <= bytes_max and text.isascii()):
        return text
    data = text.encode(errors="replace")
    if len(data) <= bytes_max:
        return text
    return data[: bytes_max - len(_CUT.encode())].decode(errors="ignore") + _CUT


def replaces(value: DatedValue, other: DatedValue | None) -> bool:
    """Return whether a value replaces another: the later value does; of equal times, the greater text does."""
    if other is None or value[1] != other[1]:
        return other is None or value[1] > other[1]
    return (str(value[0]), type(value[0]).__name__) > (str(other[0]), type(other[0]).__name__)


# --- facts ---------------------------------------------------------------------------------------------------------


def learn(
    facts: dict[str, DatedValue], texts: dict[str, DatedValue], person: Facts, when: int, rule_facts: NamedFacts
) -> Counter[str]:
    """Add the facts of one event. `drop_excess` must be called afterwards.

    Args:
        facts: The facts of the profile, changed in place.
        texts: Long values in full, changed in place.
        person: The facts of the event.
        when: The time of the event (microseconds).
        rule_facts: The custom facts that the agreement names.

    Returns:
        The number of values that were shortened or rejected, by kind.
    """
    dropped: Counter[str] = Counter()
    for field, value in person.items():
        if field in STANDARD_FACTS:
            name, limit = field, STANDARD_BYTES_MAX
        elif field in rule_facts.names:
            name, limit = field, rule_facts.value_bytes
        elif field.startswith(CUSTOM_PREFIX):
            name, limit = shorten(field, NAME_BYTES_MAX), VALUE_BYTES_MAX
        else:  # only FirstHour itself derives this fact
            dropped["refused"] += 1
            continue
        bounded = value
        if isinstance(value, str) and (bounded := shorten(value, limit)) is not value:
            if limit == VALUE_BYTES_MAX:
                whole = shorten(value, TEXT_BYTES_MAX)
                if replaces((whole, when), texts.get(name)):
                    texts[name] = (whole, when)
            else:
                dropped["text"] += 1
        if replaces((bounded, when), facts.get(name)):
            facts[name] = (bounded, when)
    return dropped


def drop_excess(
    facts: dict[str, DatedValue], texts: dict[str, DatedValue], rule_facts: NamedFacts
) -> tuple[int | None, Counter[str]]:
    """Drop the custom facts and texts beyond the bounds. Of facts that no rule names, the newest stay.

    Returns:
        The time of the newest dropped fact (None: no fact was dropped), and the number of dropped facts and texts, by kind.
    """
    unnamed = [name for name in facts if name not in STANDARD_FACTS and name not in rule_facts.names]
    named = sum(name in rule_facts.names for name in facts)
    dropped = _beyond(facts, unnamed, CUSTOM_FACTS_MAX - named)
    until = max((facts[name][1] for name in dropped), default=None)
    for name in dropped:
        del facts[name]
    shortened = _beyond(texts, texts, TEXTS_MAX)
    for name in shortened:
        del texts[name]
    return until, Counter(fact=len(dropped), text=len(shortened))


def _beyond(values: Mapping[str, DatedValue], names: Collection[str], count: int) -> list[str]:
    """Return the `names` that are not among the `count` newest. Of equal times, the greater name counts as newer."""
    if len(names) <= count:
        return []
    return sorted(names, key=lambda name: (values[name][1], name), reverse=True)[count:]


def value_of(name: str, fact: DatedValue, texts: Mapping[str, DatedValue]) -> Value:
    """Return the value of a fact, in full if its text is stored."""
    whole = texts.get(name)
    if whole is None or whole[1] != fact[1] or shorten(str(whole[0]), VALUE_BYTES_MAX) != fact[0]:
        return fact[0]
    return whole[0]


def size(facts: Facts) -> int:
    """Return the size of facts in a record: the bytes of names and values in UTF-8."""
    return sum(len(name.encode()) + len(str(value).encode(errors="replace")) for name, value in facts.items())


# --- an event's own fields -----------------------------------------------------------------------------------------


def outside_fields(fields: Facts) -> Facts:
    """Return the fields of an event without those that only FirstHour itself derives."""
    if any(map(is_product_fact, fields)):
        return {name: value for name, value in fields.items() if not is_product_fact(name)}
    return fields


def bounded_fields(fields: Facts) -> Facts:
    """Return the fields of an event for a record, within the bounds. Standard names come first."""
    if sum(len(name) + (len(value) if isinstance(value, str) else 20) for name, value in fields.items()) <= _SMALL:
        return fields
    bounded: Facts = {}
    bytes_left = FIELDS_BYTES_MAX
    for name in sorted(fields, key=lambda name: (name not in EVENT_FIELDS, name)):
        value = fields[name]
        value = shorten(value, TEXT_BYTES_MAX) if isinstance(value, str) else value
        bytes_left -= len(name.encode()) + len(str(value).encode(errors="replace"))
        if bytes_left < 0:
            break
        bounded[name] = value
    return bounded
