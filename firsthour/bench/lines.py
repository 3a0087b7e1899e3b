"""The lines of a benchmark: each has a value, its spread, a goal and the verdict."""

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

Better = Literal["higher", "lower"]


class BenchLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure. `ok` is None where there is no goal; `spread` is (lowest, highest) over the repetitions."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    ok: bool | None = None
    spread: tuple[float, float] | None = None
    note: str = ""


def line(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    goal: float | None = None,
    better: Better = "lower",
    note: str = "",
) -> BenchLine:
    """Return the line of the median of `values`, compared with `goal`."""
    middle = statistics.median(values)
    ok = None if goal is None else (middle >= goal if better == "higher" else middle <= goal)
    spread = (rounded(min(values)), rounded(max(values))) if len(values) > 1 else None
    return BenchLine(name, rounded(middle), unit, goal, ok, spread, note)


def rounded(value: float) -> float:
    """Return the value with three significant digits, or as a whole number."""
    return round(value) if abs(value) >= 1_000 else float(f"{value:.3g}")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of `values` does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
