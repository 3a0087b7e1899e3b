"""The ranges of an agreement's scores, and the verdict of a test over a whole range."""

import math
from dataclasses import dataclass
from typing import Any, Final

from firsthour.runtime.config.documents import at
from schemas.conditions.tree import Test

_FULL: Final = 100.0
_HALF: Final = 0.5


@dataclass(frozen=True)
class NumberRange:
    """Numbers from `low` to `high`; an open end excludes its bound."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def within(self, other: "NumberRange") -> "NumberRange":
        """Return the numbers in both ranges."""
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, high_closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        return NumberRange(low, high, low_open, not high_closed)

    @property
    def empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def holds_all(self, other: "NumberRange") -> bool:
        """Return whether every number of `other` is in this range."""
        return self.within(other) == other


def number(value: object) -> float | None:
    """Return a value of a file as a number. None: it is not a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def span_of(test: Test) -> NumberRange | None:
    """Return the numbers for which a test of order or equality holds. None: it is another test."""
    if test.op == "between" and isinstance(test.value, tuple):
        return NumberRange(float(test.value[0]), float(test.value[1]))
    bound = number(test.value)
    if bound is None:
        return None
    return {
        "gt": NumberRange(low=bound, low_open=True),
        "gte": NumberRange(low=bound),
        "lt": NumberRange(high=bound, high_open=True),
        "lte": NumberRange(high=bound),
        "eq": NumberRange(bound, bound),
    }.get(test.op)


def certain(test: Test, low: float, high: float) -> bool | None:
    """Return whether a test holds for every number in the range (True) or for none (False). None: it depends."""
    span, whole = span_of(test), NumberRange(low, high)
    if span is None:
        return None
    if span.within(whole).empty:
        return False
    return True if span.holds_all(whole) else None


def _points(rules: object) -> float:
    """Return the sum of the positive points of these rules."""
    most = 0.0
    for rule in rules if isinstance(rules, list) else ():
        most += max(0.0, number(at(rule, "points")) or 0.0)
    return most


def weights(agreement: Any) -> tuple[float, float]:
    """Return the weights of fit and engagement in the total."""
    of_fit, of_engagement = (number(at(agreement, "scoring", "total", name)) for name in ("fit", "engagement"))
    return _HALF if of_fit is None else of_fit, _HALF if of_engagement is None else of_engagement


def scores(agreement: Any) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of fit, engagement and total."""
    scoring = at(agreement, "scoring")
    fit_max = number(at(scoring, "fit", "at_most"))
    fit = min(_FULL if fit_max is None else fit_max, _points(at(scoring, "fit", "rules")))
    engagement_max = number(at(scoring, "engagement", "at_most"))
    engaged = at(scoring, "engagement", "rules")
    engagement = (_FULL if engagement_max is None else engagement_max) if _points(engaged) else 0.0
    of_fit, of_engagement = weights(agreement)
    total = fit * of_fit + engagement * of_engagement
    return {"fit": (0.0, fit), "engagement": (0.0, engagement), "total": (0.0, total)}
