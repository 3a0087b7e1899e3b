"""Reads the funnel: counts the passes of a period, in all and by group.

The passes of a whole period come from the tallies of its days. A day that has changed since its tally, a part of a day, and
every report with a filter or a group are counted from the passes themselves, day after day.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from services.reporting import funnel_tallies
from services.reporting.domain.funnel_steps import FunnelStep
from services.reporting.domain.funnel_tally import FunnelTally, pack, reached, unpack
from services.reporting.funnel_passes import DAY_US, Filters, counted_rows, days_with_passes, steps_in

Basis = Literal["cohort", "activity"]
Span = Literal["day", "week", "month"]
Passes = Literal["first", "later", "all"]
GROUPS_MAX: Final = 50
KEYS_MAX: Final = 10_000
"""The most groups that are counted before the largest are chosen. Passes of further ones are counted together."""
HISTORY_DAYS: Final = 400
_THURSDAY: Final = 4  # the epoch was a Thursday: its week began 3 days before
_FURTHER: Final = "\x00further"
OTHER: Final = "\x00other"
"""The key of the group of all further values."""
_LAYOUT: Final = 1


@dataclass(frozen=True)
class FunnelQuery:
    """What is counted. Times are microseconds; `end` does not belong to the period."""

    steps: tuple[FunnelStep, ...]
    start: int
    end: int
    basis: Basis = "cohort"
    passes: Passes = "first"
    by: str = ""  # a dimension, `cohort`, or empty
    per: Span = "week"
    filters: Filters = field(default_factory=dict)

    @property
    def layout(self) -> str:
        """The name of the order of the steps: tallies with another one do not count."""
        return f"{_LAYOUT}:{'|'.join(step.key for step in self.steps)}"

    @property
    def rows_of(self) -> tuple[int, int]:
        """The time in which the passes began that can count."""
        if self.basis == "cohort":
            return self.start, self.end
        return self.end - HISTORY_DAYS * DAY_US, self.end


Both = list[FunnelTally]
"""The tally of first passes, and that of later ones."""


@dataclass
class FunnelCounts:
    """The result: tallies of first and later passes in all, by group, and the steps reached by bucket of time."""

    total: list[Both] = field(default_factory=list)
    groups: dict[str | None, list[Both]] = field(default_factory=dict)
    trend: dict[int, list[int]] = field(default_factory=dict)  # by the begin of a bucket


class PassCounter:
    """Counts passes in one tally of first and one of later ones for each group."""

    def __init__(self, query: FunnelQuery) -> None:
        self._query = query
        self._keys = [step.key for step in query.steps]
        self._all = (1 << len(self._keys)) - 1
        self.groups: dict[str | None, Both] = {}

    def read(self, row: Any) -> tuple[list[int | None], int]:
        """Return the first time of each step, and the steps that count, as bits."""
        times = [*map(steps_in(row.steps).get, self._keys)]
        return times, self._all if self._query.basis == "cohort" else self._within(times)

    def add(self, row: Any, times: Sequence[int | None], counted: int, key: str | None = "") -> None:
        """Count a pass, with what was read of it."""
        both = self.groups.get(key)
        if both is None:
            if len(self.groups) >= KEYS_MAX:
                key = _FURTHER
            both = self.groups.setdefault(key, [FunnelTally(len(self._keys)) for _ in range(2)])
        both[row.cycle > 1].add(times, counted, row)

    def _within(self, times: Sequence[int | None]) -> int:
        counted = 0
        for n, at in enumerate(times):
            if at is not None and self._query.start <= at < self._query.end:
                counted |= 1 << n
        return counted

    def sorted(self) -> dict[str | None, Both]:
        """Return the tallies of each group, ready to be read."""
        for both in self.groups.values():
            for tally in both:
                tally.sort()
        return self.groups


def count(connection: Connection, query: FunnelQuery) -> FunnelCounts:
    """Count the funnel in one snapshot."""
    if query.basis == "activity":
        return _count_activity(connection, query)
    counts = FunnelCounts()
    by_row = query.by not in ("", "cohort")
    groups = PassCounter(query) if by_row else None
    buckets: defaultdict[int, list[Both]] = defaultdict(list)
    for day, both in _days(connection, query, groups):
        counts.total.append(both)
        buckets[bucket_of(day * DAY_US, query.per)].append(both)
    for begin, days in sorted(buckets.items()):
        chosen = [tally for both in days for tally in chosen_of(both, query.passes)]
        counts.trend[begin] = reached(chosen, len(query.steps))
    if groups is not None:
        counts.groups = {key: [both] for key, both in groups.sorted().items()}
    elif query.by == "cohort":
        counts.groups = {begin_text(begin): days for begin, days in sorted(buckets.items())}
    return _bounded(counts, query)


def _days(connection: Connection, query: FunnelQuery, groups: PassCounter | None) -> Iterator[tuple[int, Both]]:
    """Yield the tallies of each day of the period, and count the groups."""
    whole = (-(-query.start // DAY_US), query.end // DAY_US)
    stored: Mapping[int, bytes] = {}
    if groups is None and not query.filters:
        stored = funnel_tallies.find_days(connection, *whole, query.layout)
    for day in days_with_passes(connection, (query.start, query.end)):
        if day in stored:
            yield day, unpack(stored[day])
        else:
            period = max(query.start, day * DAY_US), min(query.end, (day + 1) * DAY_US)
            if (both := count_rows(connection, query, period, groups)) is not None:
                yield day, both


def count_rows(
    connection: Connection, query: FunnelQuery, period: tuple[int, int], groups: PassCounter | None = None
) -> Both | None:
    """Count the passes that began in a period. None: there is none."""
    counter = PassCounter(query)
    key = query.by if groups is not None else ""
    for row in counted_rows(connection, key, period, query.filters):
        times, counted = counter.read(row)
        counter.add(row, times, counted)
        if groups is not None:
            groups.add(row, times, counted, row.key)
    return counter.sorted().get("")


def _count_activity(connection: Connection, query: FunnelQuery) -> FunnelCounts:
    counts, counter = FunnelCounts(), PassCounter(query)
    groups = PassCounter(query) if query.by else None
    start, end = query.rows_of
    column = "" if query.by == "cohort" else query.by
    for day in days_with_passes(connection, query.rows_of):
        period = max(start, day * DAY_US), min(end, (day + 1) * DAY_US)
        for row in counted_rows(connection, column, period, query.filters):
            times, counted = counter.read(row)
            if not counted:
                continue
            counter.add(row, times, counted)
            if groups is not None:
                key = row.key if column else begin_text(bucket_of(row.start_at, query.per))
                groups.add(row, times, counted, key)
            if query.passes in ("all", "later" if row.cycle > 1 else "first"):
                _note_trend(counts.trend, times, counted, query)
    counts.total = [*counter.sorted().values()]
    if groups is not None:
        counts.groups = {key: [both] for key, both in groups.sorted().items()}
    counts.trend = dict(sorted(counts.trend.items()))
    return _bounded(counts, query)


def _note_trend(trend: dict[int, list[int]], times: Sequence[int | None], counted: int, query: FunnelQuery) -> None:
    for n, at in enumerate(times):
        if at is not None and counted >> n & 1:
            trend.setdefault(bucket_of(at, query.per), [0] * len(times))[n] += 1


def _bounded(counts: FunnelCounts, query: FunnelQuery) -> FunnelCounts:
    """Keep the largest groups. All further ones are one group, the last."""
    further = counts.groups.pop(_FURTHER, [])
    counts.groups = {key: days for key, days in counts.groups.items() if passes_in(days, query.passes)}
    if query.by == "cohort":
        ranked = [*reversed([*counts.groups.items()])]  # the newest ones
    else:
        ranked = sorted(counts.groups.items(), key=lambda item: (-passes_in(item[1], query.passes), item[0] or ""))
    rest = [both for _, days in ranked[GROUPS_MAX:] for both in days] + further
    counts.groups = dict(ranked[:GROUPS_MAX])
    if query.by == "cohort":
        counts.groups = dict(reversed(counts.groups.items()))
    if rest:
        counts.groups[OTHER] = rest
    return counts


def passes_in(days: Sequence[Both], passes: Passes) -> int:
    """Return the number of passes in these tallies."""
    return sum(sum(tally.counts.values()) for both in days for tally in chosen_of(both, passes))


def chosen_of(both: Both, passes: Passes) -> list[FunnelTally]:
    """Return the tally of the first passes, of the later ones, or both."""
    return {"first": both[:1], "later": both[1:], "all": both}[passes]


def bucket_of(at: int, per: Span) -> int:
    """Return the begin of the day, week or month (UTC) of a time."""
    day = at // DAY_US
    if per == "day":
        return day * DAY_US
    if per == "week":
        return (day - (day + _THURSDAY - 1) % 7) * DAY_US
    first = moment(day * DAY_US).replace(day=1)
    return micros(first)


def bucket_end(begin: int, per: Span) -> int:
    """Return the end of a bucket."""
    if per == "day":
        return begin + DAY_US
    if per == "week":
        return begin + 7 * DAY_US
    first = moment(begin)
    return micros((first + timedelta(days=32)).replace(day=1))


def begin_text(begin: int) -> str:
    """Return the first day of a bucket as a date."""
    return moment(begin).date().isoformat()


def packed_day(connection: Connection, steps: tuple[FunnelStep, ...], day: int) -> bytes:
    """Return the tally of a day as it is stored."""
    query = FunnelQuery(steps, day * DAY_US, (day + 1) * DAY_US)
    both = count_rows(connection, query, (query.start, query.end))
    return pack(both or [FunnelTally(len(steps)) for _ in range(2)])


def today(now: datetime) -> int:
    """Return the number of the day since the epoch."""
    return micros(now) // DAY_US
