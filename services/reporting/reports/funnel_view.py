"""The funnel as JSON and as rows of a table."""

import csv
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import Any, Final

from firsthour.kernel.time_units import micros, moment
from services.reporting.domain.funnel_steps import FunnelStep
from services.reporting.domain.funnel_tally import Figure, FunnelTally, figures, nearest_rank, reached
from services.reporting.funnel_passes import DAY_US
from services.reporting.reports.funnel_buckets import COLUMNS as MARKS
from services.reporting.reports.funnel_buckets import marks_of, settling_us
from services.reporting.reports.funnel_counting import (
    OTHER,
    Both,
    FunnelCounts,
    FunnelQuery,
    bucket_end,
    chosen_of,
)
from services.reporting.reports.funnel_query import link

_AGES: Final = ((1, "under_1d"), (7, "under_7d"), (30, "under_30d"))
_OLDER: Final = "over_30d"
_COLUMNS: Final = (
    "step",
    "reached",
    "share",
    "next",
    "converted",
    "skipped",
    "ended",
    "there",
    "conversion",
    "median_seconds",
    "p90_seconds",
)


def report_view(query: FunnelQuery, counts: FunnelCounts, now: int, teams: Mapping[str, str]) -> dict[str, Any]:
    """Return the report. `now`: microseconds. `teams`: of the statuses."""
    settling = settling_us([tally for both in counts.total for tally in chosen_of(both, query.passes)])
    return {
        "from": moment(query.start),
        "to": moment(query.end),
        "basis": query.basis,
        "passes": query.passes,
        "by": query.by or None,
        "per": query.per,
        "timezone": "UTC",
        "filters": query.filters,
        "steps": [step._asdict() for step in query.steps],
        "total": group_view(query, counts.total, {}),
        "items": [
            {
                "key": None if key == OTHER else key,
                "other": key == OTHER,
                **_cohort_marks(query, key, now, settling),
                **group_view(query, days, _of(query, key)),
            }
            for key, days in counts.groups.items()
        ],
        "cycles": _cycles(query, counts.total),
        "standing": _standing(query, counts.total, now, teams),
        "trend": _trend(query, counts.trend, now, settling),
    }


def _of(query: FunnelQuery, key: str | None) -> Mapping[str, Any] | None:
    """Return the parameters of the leads of a group. None: the group is no value of its own."""
    if key == OTHER:
        return None
    if query.by != "cohort":
        return {query.by: key or ""}
    if query.basis == "activity":
        return None
    begin = _begin(key)
    return {"from": moment(max(begin, query.start)), "to": moment(min(bucket_end(begin, query.per), query.end))}


def _begin(key: str | None) -> int:
    return micros(datetime.fromisoformat(f"{key}T00:00:00+00:00"))


def _cohort_marks(query: FunnelQuery, key: str | None, now: int, settling: int) -> dict[str, bool]:
    """Return the marks of a group. Groups that are no part of the period have none."""
    if query.by != "cohort" or key == OTHER:
        return {}
    return marks_of(query, _begin(key), now, settling)._asdict()


def group_view(query: FunnelQuery, days: Sequence[Both], of: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of one group. `of`: further parameters of the links; None: no list has these leads."""
    tallies = [tally for both in days for tally in chosen_of(both, query.passes)]
    rows = figures(tallies, len(query.steps))
    entered = sum(count for tally in tallies for count in tally.counts.values())
    again = reached([both[1] for both in days], len(query.steps))
    base = None if of is None else link(query, _texts(of))
    steps = []
    for n, (step, figure) in enumerate(zip(query.steps, rows, strict=True)):
        following = query.steps[n + 1] if n + 1 < len(query.steps) else None
        steps.append(
            {
                "step": step.key,
                "reached": figure.reached,
                "share": _share(figure.reached, entered),
                "again": again[n],
                **(_pair(figure, following, tallies, n) if following else _END),
            }
        )
    return {"entered": entered, "leads": base, "steps": steps, "end_to_end": _end_to_end(query, rows, tallies)}


_END: Final[Mapping[str, Any]] = dict.fromkeys(
    ("next", "converted", "skipped", "ended", "ended_by", "there", "conversion", "median_seconds", "p90_seconds")
)


def _pair(figure: Figure, following: FunnelStep, tallies: Sequence[FunnelTally], n: int) -> dict[str, Any]:
    return {
        "next": following.key,
        "converted": figure.converted,
        "skipped": figure.skipped,
        "ended": figure.ended,
        "ended_by": dict(sorted(figure.ended_by.items())),
        "there": figure.there,
        "conversion": _share(figure.converted + figure.skipped, figure.reached),
        **_velocity(tallies, n),
    }


def _velocity(tallies: Sequence[FunnelTally], n: int) -> dict[str, float | None]:
    spans = [tally.spans[n] for tally in tallies]
    return {
        "median_seconds": _seconds(nearest_rank(spans, 1, 2)),
        "p90_seconds": _seconds(nearest_rank(spans, 9, 10)),
    }


def _end_to_end(query: FunnelQuery, rows: Sequence[Figure], tallies: Sequence[FunnelTally]) -> dict[str, Any]:
    last = len(rows) - 1
    both = 1 | 1 << last
    converted = sum(
        count
        for tally in tallies
        for (mask, counted, _), count in tally.counts.items()
        if counted & 1 and mask & both == both
    )
    return {
        "step": query.steps[0].key,
        "next": query.steps[-1].key,
        "reached": rows[0].reached,
        "converted": converted,
        "conversion": _share(converted, rows[0].reached),
        **_velocity(tallies, last),
    }


def _cycles(query: FunnelQuery, days: Sequence[Both]) -> dict[str, Any]:
    """Return the passes that ended, by the kind of the end, and the steps that later passes reached."""
    ended: Counter[str] = Counter()
    for both in days:
        for (_, _, end), count in both[0].counts.items():
            if end:
                ended[end] += count
    later = [both[1] for both in days]
    counts = reached(later, len(query.steps))
    return {
        "ended_by": dict(sorted(ended.items())),
        "passes": sum(count for tally in later for count in tally.counts.values()),
        "reached": {step.key: counts[n] for n, step in enumerate(query.steps)},
        "leads": link(query, {"passes": "later"}),
    }


def _standing(query: FunnelQuery, days: Sequence[Both], now: int, teams: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return where the leads of the period stand now and since when: also those that have come back meanwhile."""
    since: dict[str, list[Any]] = {}
    for both in days:
        for tally in both:
            for status, times in tally.standing.items():
                since.setdefault(status, []).append(times)
    names = [*(name for name in teams if name in since), *(name for name in sorted(since) if name not in teams)]
    return [
        {
            "status": name,
            "team": teams.get(name),
            "count": sum(map(len, since[name])),
            # the oldest half began before the median: an age is now less a time, so the ranks are reversed
            "median_age_seconds": _age(now, nearest_rank(since[name], 1, 2)),
            "p90_age_seconds": _age(now, nearest_rank(since[name], 1, 10)),
            "oldest_age_seconds": _age(now, min(times[0] for times in since[name] if times)),
            "ages": _ages(since[name], now),
            "leads": link(query, {"passes": "all", "standing": name}),
        }
        for name in names
    ]


def _ages(parts: Sequence[Any], now: int) -> dict[str, int]:
    counts = dict.fromkeys([*(name for _, name in _AGES), _OLDER], 0)
    limits = [(now - days * DAY_US, name) for days, name in _AGES]
    for part in parts:
        end = len(part)
        for limit, name in limits:
            start = bisect_right(part, limit)
            counts[name] += end - start
            end = start
        counts[_OLDER] += end
    return counts


def _age(now: int, at: int | None) -> float | None:
    return None if at is None else _seconds(max(now - at, 0))


def _trend(query: FunnelQuery, trend: Mapping[int, Sequence[int]], now: int, settling: int) -> list[dict[str, Any]]:
    """Return the steps reached by bucket: of the pass that began in it, or with `activity`, in it.

    The first bucket is that of the first pass. A later one without a pass has zeros, so that a pause is seen.
    """
    rows, none = [], [0] * len(query.steps)
    begin = min(trend, default=query.end)
    while begin < query.end:
        counts = trend.get(begin, none)
        start, end = max(begin, query.start), min(bucket_end(begin, query.per), query.end)
        rows.append(
            {
                "from": moment(start),
                "to": moment(end),
                **marks_of(query, begin, now, settling)._asdict(),
                "reached": {step.key: counts[n] for n, step in enumerate(query.steps)},
                "leads": link(query, _texts({"from": moment(start), "to": moment(end)})),
            }
        )
        begin = bucket_end(begin, query.per)
    return rows


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str) else value.isoformat().replace("+00:00", "Z")
        for name, value in values.items()
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _seconds(us: int | None) -> float | None:
    return None if us is None else round(us / 1_000_000, 3)


# --- CSV ----------------------------------------------------------------------------------------------------------


def csv_text(report: Mapping[str, Any]) -> str:
    """Return the figures as CSV: one row for each group and step, the total first, in which the group is empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([report["by"] or "group", *_COLUMNS, *MARKS])
    for key, group in _groups(report):
        for step in group["steps"]:
            cells = [*(step[column] for column in _COLUMNS), *(group.get(mark) for mark in MARKS)]
            writer.writerow([_cell(key), *map(_cell, cells)])
    return text.getvalue()


def _groups(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", report["total"]
    for item in report["items"]:
        yield "(other)" if item["other"] else item["key"] or "(unknown)", item


def _cell(value: Any) -> Any:
    """Return a cell. A text that a spreadsheet would run as a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
