"""Charts as shapes in a box of fixed size, which a template draws as SVG: no script, and the same on paper."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

WIDTH: Final = 640
HEIGHT: Final = 160


class ChartLine(NamedTuple):
    """One line. `points`: the attribute of an SVG polyline."""

    label: str
    points: str


def marks(moments: Sequence[datetime], begins: Sequence[datetime], end: datetime) -> list[float]:
    """Return where these times lie along a chart with one point for each bucket, at its begin.

    Args:
        begins: of the buckets, which may differ in length.
        end: of the last one. Times after its begin lie at the edge of the chart.
    """
    ends, places = [*begins[1:], end], []
    for moment in moments:
        n = max(bisect_right(begins, moment) - 1, 0)
        share = (moment - begins[n]) / (ends[n] - begins[n])
        places.append((n + share) / max(len(begins) - 1, 1))
    return [round(min(1.0, max(0.0, place)) * WIDTH, 1) for place in places]


def shades(marked: Sequence[bool]) -> list[tuple[float, float]]:
    """Return begin and width of a shade around each marked point of a chart with one point for each bucket."""
    if len(marked) == 1:  # its line is as long as the chart
        return [(0.0, float(WIDTH))] if marked[0] else []
    step = WIDTH / max(len(marked) - 1, 1)
    places = [
        (max(0.0, (n - 0.5) * step), min(float(WIDTH), (n + 0.5) * step))
        for n, is_marked in enumerate(marked)
        if is_marked
    ]
    return [(round(start, 1), round(end - start, 1)) for start, end in places]


class ChartColumn(NamedTuple):
    """One column: the attributes of an SVG rectangle."""

    x: float
    y: float
    width: float
    height: float


def columns(values: Sequence[float], top: float, *, share: float = 1.0, offset: float = 0.0) -> list[ChartColumn]:
    """Return a column for each value.

    Args:
        values: the heights.
        top: the value at the top of the chart.
        share: the width of a column, as a part of the place that each value has.
        offset: where a column begins within its place, as a part of it.
    """
    place = WIDTH / max(len(values), 1)
    heights = [value / (top or 1) * HEIGHT for value in values]
    return [
        ChartColumn(
            round((n + offset) * place, 1), round(HEIGHT - height, 1), round(place * share, 1), round(height, 1)
        )
        for n, height in enumerate(heights)
    ]


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
