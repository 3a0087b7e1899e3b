"""The bounds of a profile: which facts and hits are kept.

A profile holds at most 100 custom facts and 32 kB of facts, and a bounded number of engagement hits. The result follows
from the set of facts, in any order of arrival. The proof: `docs/decisions/0018-bounded-profiles.md`.
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

CUSTOM: Final = "custom."
KNOWN: Final = frozenset(PERSON_FIELDS) - {"email"}
"""The facts that every profile may hold, besides custom facts."""

CUSTOM_FACTS_MAX: Final = 100
NAME_BYTES_MAX: Final = 72  # of a custom fact
VALUE_BYTES_MAX: Final = 56  # of a custom fact that no rule names
TEXTS_MAX: Final = 4  # long values of custom facts that are stored in full beside the facts
TEXT_BYTES_MAX: Final = 2_000
KNOWN_BYTES_MAX: Final = 220  # of the value of a known fact
AGREED_BYTES_MAX: Final = 6_144  # shared by the values of the custom facts that rules name
HITS_MAX: Final = 100  # of one engagement rule
FIELDS_BYTES_MAX: Final = 16_384  # of the event's own fields in a record
_SMALL: Final = 4_000  # characters of fields that are certainly within the bounds
_CUT: Final = "\u2026"

DatedValue = tuple[Value, int]
"""A value and its time (microseconds)."""


class Agreed(NamedTuple):
    """The custom facts that the agreement names, and the largest size of each of their values."""

    names: frozenset[str]
    value_bytes: int


def agreed(agreement: Agreement) -> Agreed:
    """Return the custom facts that other facts never displace. Of more than 100, the first in the order of their names."""
    fields = {test.field for node in _conditions(agreement) for test in tests(node)}
    for promise in agreement.promises.marketing:
        fields |= set(promise.complete) if isinstance(promise, CompletePromise) else set()
    names = sorted(name for name in fields if name.startswith(CUSTOM))[:CUSTOM_FACTS_MAX]
    share = AGREED_BYTES_MAX // max(1, len(names))
    return Agreed(frozenset(names), min(TEXT_BYTES_MAX, max(VALUE_BYTES_MAX, share)))


def _conditions(part: object) -> Iterator[Node]:
    """Return every condition of the agreement, of all sections."""
    if isinstance(part, Node):
        yield part
    elif isinstance(part, Shape):
        for value in vars(part).values():
            yield from _conditions(value)
    elif isinstance(part, Mapping | tuple):
        for value in part.values() if isinstance(part, Mapping) else part:
            yield from _conditions(value)


# --- values and names ----------------------------------------------------------------------------------------------


def cut(text: str, bytes_max: int) -> str:
    """Return the text, shortened to so many bytes of UTF-8. A shortened text ends with an ellipsis."""
    if len(text) * 4 <= bytes_max or (len(text) <= bytes_max and text.isascii()):
        return text
    data = text.encode(errors="replace")
    if len(data) <= bytes_max:
        return text
    return data[: bytes_max - len(_CUT.encode())].decode(errors="ignore") + _CUT


def newer(value: DatedValue, than: DatedValue | None) -> bool:
    """Return whether a value replaces another: the later one does. Of two values of one moment, the greater text does."""
    if than is None or value[1] != than[1]:
        return than is None or value[1] > than[1]
    return (str(value[0]), type(value[0]).__name__) > (str(than[0]), type(than[0]).__name__)


# --- facts ---------------------------------------------------------------------------------------------------------


def learn(
    facts: dict[str, DatedValue], texts: dict[str, DatedValue], person: Facts, when: int, agreed: Agreed
) -> Counter[str]:
    """Add the facts of one event. `fit` must be called afterwards.

    Args:
        facts: Changed in place.
        texts: Long values in full, changed in place.
        when: The time of the event (microseconds).

    Returns:
        How many values were shortened or rejected, by kind.
    """
    dropped: Counter[str] = Counter()
    for field, value in person.items():
        if field in KNOWN:
            name, limit = field, KNOWN_BYTES_MAX
        elif field in agreed.names:
            name, limit = field, agreed.value_bytes
        elif field.startswith(CUSTOM):
            name, limit = cut(field, NAME_BYTES_MAX), VALUE_BYTES_MAX
        else:  # a fact that only FirstHour itself derives
            dropped["refused"] += 1
            continue
        kept = value
        if isinstance(value, str) and (kept := cut(value, limit)) is not value:
            if limit == VALUE_BYTES_MAX:
                whole = cut(value, TEXT_BYTES_MAX)
                if newer((whole, when), texts.get(name)):
                    texts[name] = (whole, when)
            else:
                dropped["text"] += 1
        if newer((kept, when), facts.get(name)):
            facts[name] = (kept, when)
    return dropped


def fit(facts: dict[str, DatedValue], texts: dict[str, DatedValue], agreed: Agreed) -> tuple[int | None, Counter[str]]:
    """Drop the custom facts and texts beyond the bounds. Of facts that no rule names, the newest stay.

    Returns:
        The time of the newest dropped fact (None: no fact was dropped), and how many were dropped, by kind.
    """
    unnamed = [name for name in facts if name not in KNOWN and name not in agreed.names]
    named = sum(name in agreed.names for name in facts)
    dropped = _beyond(facts, unnamed, CUSTOM_FACTS_MAX - named)
    until = max((facts[name][1] for name in dropped), default=None)
    for name in dropped:
        del facts[name]
    shortened = _beyond(texts, texts, TEXTS_MAX)
    for name in shortened:
        del texts[name]
    return until, Counter(fact=len(dropped), text=len(shortened))


def _beyond(values: Mapping[str, DatedValue], names: Collection[str], count: int) -> list[str]:
    """Return the `names` that are not among the `count` newest. Of one moment, the greater name counts as newer."""
    if len(names) <= count:
        return []
    return sorted(names, key=lambda name: (values[name][1], name), reverse=True)[count:]


def value_of(name: str, fact: DatedValue, texts: Mapping[str, DatedValue]) -> Value:
    """Return the value of a fact, in full if its text is stored."""
    whole = texts.get(name)
    if whole is None or whole[1] != fact[1] or cut(str(whole[0]), VALUE_BYTES_MAX) != fact[0]:
        return fact[0]
    return whole[0]


def size(known: Facts) -> int:
    """Return the size of facts in a record: the bytes of names and values in UTF-8."""
    return sum(len(name.encode()) + len(str(value).encode(errors="replace")) for name, value in known.items())


# --- an event's own fields -----------------------------------------------------------------------------------------


def outside_fields(fields: Facts) -> Facts:
    """Return the fields of an event without those that only FirstHour itself derives."""
    if any(map(is_product_fact, fields)):
        return {name: value for name, value in fields.items() if not is_product_fact(name)}
    return fields


def bounded_fields(fields: Facts) -> Facts:
    """Return the fields of an event for a record: standard names first, within the bounds."""
    if sum(len(name) + (len(value) if isinstance(value, str) else 20) for name, value in fields.items()) <= _SMALL:
        return fields
    kept: Facts = {}
    left = FIELDS_BYTES_MAX
    for name in sorted(fields, key=lambda name: (name not in EVENT_FIELDS, name)):
        value = fields[name]
        value = cut(value, TEXT_BYTES_MAX) if isinstance(value, str) else value
        left -= len(name.encode()) + len(str(value).encode(errors="replace"))
        if left < 0:
            break
        kept[name] = value
    return kept
