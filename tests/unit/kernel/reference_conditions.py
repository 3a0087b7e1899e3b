"""A plain interpreter of conditions, with which the compiled ones are compared."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from schemas.conditions.fields import NOW
from schemas.conditions.tree import AllOf, AnyOf, Node, Not, Test
from schemas.events.base import Value

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SUFFIX = "co.uk"


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def kind(value: object) -> str:
    if isinstance(value, bool):
        return "truth"
    return "text" if isinstance(value, str) else "number" if isinstance(value, (int, float)) else "other"


def same(had: Value, operand: object) -> bool:
    if kind(had) != kind(operand):
        return False
    return folded(had) == folded(str(operand)) if isinstance(had, str) else had == operand


def days(text: str) -> float:
    """Return the days of a span such as `2d` or `next 12h`, below zero for one that is over."""
    number, unit = int(text.removeprefix("next ")[:-1]), text[-1]
    return number * {"d": 1, "h": 1 / 24}[unit] * (1 if text.startswith("next") else -1)


def lies_within(had: str, span: str, now: Value | None) -> bool:
    try:
        at = datetime.fromisoformat(had)
    except ValueError:
        return False
    if not isinstance(now, int) or isinstance(now, bool) or "-" not in had or "W" in had:
        return False
    ahead = (at if at.tzinfo else at.replace(tzinfo=UTC)) - (EPOCH + timedelta(microseconds=now))
    return min(0, days(span)) <= ahead / timedelta(days=1) <= max(0, days(span))


def below(had: str, domain: str) -> bool:
    """Return whether a host is a domain or below it, as long as the test data have no deeper public suffix."""
    host = had.lower().rpartition("@")[2].removeprefix("https://").partition("/")[0]
    known = domain.count(".") > 0 and not set(host + domain) - set("abcdefghijklmnopqrstuvwxyz.-")
    return known and (host == domain or host.endswith("." + domain)) and domain != SUFFIX and not host.startswith(".")


def words(text: str) -> list[str]:
    parts = [""]
    for character in folded(text):
        if character.isalnum() or character == "_" or unicodedata.category(character).startswith("M"):
            parts[-1] += character
        else:
            parts.append("")
    return [word for word in parts if word]


def has_phrase(had: str, operand: str) -> bool:
    phrase, text = words(operand), words(had)
    return bool(phrase) and any(text[at : at + len(phrase)] == phrase for at in range(len(text)))


def reference(node: Node, facts: Mapping[str, Value]) -> bool:
    """Return whether the condition holds for the facts."""
    match node:
        case AllOf(parts):
            return all(reference(part, facts) for part in parts)
        case AnyOf(parts):
            return any(reference(part, facts) for part in parts)
        case Not(part):
            return not reference(part, facts)
        case Test(field, op, operand):
            return compare(op, operand, facts.get(field), facts.get(NOW))


def compare(op: str, operand: object, had: Value | None, now: Value | None = None) -> bool:
    """Return whether one test holds. `had`: the value of the field; None: it is missing."""
    listed = operand if isinstance(operand, tuple) else (operand,)
    if op == "exists" or had is None:
        return op == "exists" and (had is not None) == operand
    if op in ("eq", "in"):
        return any(same(had, item) for item in listed)
    if op in ("ne", "not_in"):
        return kind(had) in map(kind, listed) and not any(same(had, item) for item in listed)
    if op in ("gt", "gte", "lt", "lte", "between"):
        if isinstance(had, str) and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", had):
            had = float(had)
        return kind(had) == "number" and ordered(op, had, listed)
    if op == "within":
        return isinstance(had, str) and lies_within(had, str(operand), now)
    if op == "matches_domain":
        return isinstance(had, str) and any(below(had, str(item)) for item in listed)
    return isinstance(had, str) and any(spelt(op, had, str(item)) for item in listed)


def ordered(op: str, had: Value, limits: tuple[object, ...]) -> bool:
    assert isinstance(had, (int, float))
    low, high = limits[0], limits[-1]
    assert isinstance(low, (int, float))
    assert isinstance(high, (int, float))
    return {"gt": had > low, "gte": had >= low, "lt": had < low, "lte": had <= low, "between": low <= had <= high}[op]


def spelt(op: str, had: str, operand: str) -> bool:
    if op == "has_word":
        return has_phrase(had, operand)
    text, part = folded(had), folded(operand)
    return {"starts_with": text.startswith(part), "ends_with": text.endswith(part), "contains": part in text}[op]
