"""Charts as shapes in a box of fixed size, which a template draws as SVG: no script, and the same on paper."""

from collections.abc import Sequence
from typing import Final, NamedTuple

WIDTH: Final = 640
HEIGHT: Final = 160


class ChartLine(NamedTuple):
    """One line. `points`: the attribute of an SVG polyline."""

    label: str
    points: str


def lines(series: Sequence[tuple[str, Sequence[float]]]) -> tuple[list[ChartLine], float]:
    """Return the lines of several series over the same buckets, and the value at the top of the chart."""
    top = max((value for _, values in series for value in values), default=0) or 1
    drawn = []
    for label, values in series:
        if len(values) == 1:
            values = [*values, *values]  # one bucket is a level line
        step = WIDTH / max(len(values) - 1, 1)
        points = " ".join(f"{n * step:.1f},{HEIGHT - value / top * HEIGHT:.1f}" for n, value in enumerate(values))
        drawn.append(ChartLine(label, points))
    return drawn, top
