"""The bounds of a profile. Pure: the facts and hits kept follow from the set of those said, in any order.

A profile holds at most 100 custom facts and 32 kB of facts, and a bounded number of engagement hits. Why the result
does not depend on the order of arrival: `docs/decisions/0018-bounded-profiles.md`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from schemas.agreement.agreement import Agreement
from schemas.agreement.promises import CompletePromise
from schemas.conditions import EVENT_FIELDS, PERSON_FIELDS, Node, tests
from schemas.events import Facts, Value
from schemas.facts import is_product_fact
from schemas.values import Shape

CUSTOM: Final = "custom."
KNOWN: Final = frozenset(PERSON_FIELDS) - {"email"}
"""The facts that every profile may hold."""

CUSTOM_FACTS_MAX: Final = 100
NAME_BYTES_MAX: Final = 72  # of a custom fact
VALUE_BYTES_MAX: Final = 56  # of a custom fact that no rule names
TEXTS_MAX: Final = 4  # longer values of custom facts that are kept beside the facts
TEXT_BYTES_MAX: Final = 2_000
KNOWN_BYTES_MAX: Final = 220  # of the value of a known fact
AGREED_BYTES_MAX: Final = 6_144  # shared by the values of the custom facts that rules name
HITS_MAX: Final = 100  # of one engagement rule
FIELDS_BYTES_MAX: Final = 16_384  # of the event's own fields in a record
_SMALL: Final = 4_000  # characters of fields that need no second look
_CUT: Final = "\u2026"

Said = tuple[Value, int]
"""A value, and when it was said (microseconds)."""


class Agreed(NamedTuple):
    """The custom facts that rules of the agreement name, and the bytes that each value may have."""

    names: frozenset[str]
    value_bytes: int


def agreed(agreement: Agreement) -> Agreed:
    """The custom facts that no other fact may push out. Of more than 100, the first in the order of their names."""
    named = {test.field for node in _conditions(agreement) for test in tests(node)}
    for promise in agreement.promises.marketing:
        named |= set(promise.complete) if isinstance(promise, CompletePromise) else set()
    names = sorted(name for name in named if name.startswith(CUSTOM))[:CUSTOM_FACTS_MAX]
    share = AGREED_BYTES_MAX // max(1, len(names))
    return Agreed(frozenset(names), min(TEXT_BYTES_MAX, max(VALUE_BYTES_MAX, share)))


def _conditions(part: object) -> Iterator[Node]:
    """Every condition of the agreement, whichever section it stands in."""
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
    """The text, shortened to so many bytes of UTF-8; a shortened text ends in an ellipsis."""
    if len(text) * 4 <= bytes_max or (len(text) <= bytes_max and text.isascii()):
        return text
    data = text.encode(errors="replace")
    if len(data) <= bytes_max:
        return text
    return data[: bytes_max - len(_CUT.encode())].decode(errors="ignore") + _CUT


def newer(said: Said, than: Said | None) -> bool:
    """Whether a value replaces another: the later one does; of two of one moment the greater text."""
    if than is None or said[1] != than[1]:
        return than is None or said[1] > than[1]
    return (str(said[0]), type(said[0]).__name__) > (str(than[0]), type(than[0]).__name__)


# --- facts ---------------------------------------------------------------------------------------------------------


def learn(facts: dict[str, Said], texts: dict[str, Said], person: Facts, when: int, agreed: Agreed) -> Counter[str]:
    """Take in the facts that one event says of a person. Return how many values were shortened or refused, by kind.

    `texts` holds longer values whole. `fit` must follow."""
    lost: Counter[str] = Counter()
    for field, value in person.items():
        if field in KNOWN:
            name, limit = field, KNOWN_BYTES_MAX
        elif field in agreed.names:
            name, limit = field, agreed.value_bytes
        elif field.startswith(CUSTOM):
            name, limit = cut(field, NAME_BYTES_MAX), VALUE_BYTES_MAX
        else:  # a fact that only the product states
            lost["refused"] += 1
            continue
        kept = value
        if isinstance(value, str) and (kept := cut(value, limit)) is not value:
            if limit == VALUE_BYTES_MAX:
                whole = cut(value, TEXT_BYTES_MAX)
                if newer((whole, when), texts.get(name)):
                    texts[name] = (whole, when)
            else:
                lost["text"] += 1
        if newer((kept, when), facts.get(name)):
            facts[name] = (kept, when)
    return lost


def fit(facts: dict[str, Said], texts: dict[str, Said], agreed: Agreed) -> tuple[int | None, Counter[str]]:
    """Drop the custom facts and texts beyond the bounds: of those that no rule names, the newest stay.

    Returns when the newest dropped fact was said (None: no fact was dropped), and how much was dropped, by kind.
    """
    loose = [name for name in facts if name not in KNOWN and name not in agreed.names]
    named = sum(name in agreed.names for name in facts)
    dropped = _beyond(facts, loose, CUSTOM_FACTS_MAX - named)
    until = max((facts[name][1] for name in dropped), default=None)
    for name in dropped:
        del facts[name]
    shortened = _beyond(texts, texts, TEXTS_MAX)
    for name in shortened:
        del texts[name]
    return until, Counter(fact=len(dropped), text=len(shortened))


def _beyond(said: Mapping[str, Said], names: Collection[str], count: int) -> list[str]:
    """Those of `names` that are not among the `count` newest; of one moment the greater name is the newer."""
    if len(names) <= count:
        return []
    return sorted(names, key=lambda name: (said[name][1], name), reverse=True)[count:]


def value_of(name: str, said: Said, texts: Mapping[str, Said]) -> Value:
    """The value of a fact, whole where its text is kept."""
    whole = texts.get(name)
    if whole is None or whole[1] != said[1] or cut(str(whole[0]), VALUE_BYTES_MAX) != said[0]:
        return said[0]
    return whole[0]


def size(known: Facts) -> int:
    """The bytes of facts as they are told: names and values in UTF-8."""
    return sum(len(name.encode()) + len(str(value).encode(errors="replace")) for name, value in known.items())


# --- an event's own fields -----------------------------------------------------------------------------------------


def own(fields: Facts) -> Facts:
    """An event's own fields without those that only the product states."""
    if any(map(is_product_fact, fields)):
        return {name: value for name, value in fields.items() if not is_product_fact(name)}
    return fields


def told(fields: Facts) -> Facts:
    """The event's own fields as a record tells them: usual names first, within the bounds."""
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
