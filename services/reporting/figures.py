"""The SQL of the response report: counts, shares and percentiles of requests, computed in the database.

Percentiles are those of the nearest rank: the median of n values is value number n/2, rounded up. Days, weekdays and hours
are local: the offset of the zone is a step function of time, with at most `PIECES` steps.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from services.reporting.responses import responses

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
GROUPS_MAX: Final = 500
PIECES: Final = 8
"""The most changes of a zone's offset in one report, plus one. Zones change at most a few times a year."""
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Figures:
    """The figures of one group of requests. Times are microseconds; None: there is no value to compute it from."""

    key: Any
    requests: int
    pending: int  # awaits its first touch, and the hour is not over
    touched: int
    left: int  # left Sales without a touch
    attempts: int
    conversations: int
    reached: int  # requests with a conversation
    held: int  # requests whose lead was held back with a burst: their working time counts from its release
    within: int  # touched within the hour
    average: float | None
    median: int | None
    p90: int | None
    working_pending: int
    working_within: int
    working_average: float | None
    working_median: int | None
    working_p90: int | None


def _number(name: str) -> Any:
    return sa.bindparam(name, type_=sa.BigInteger)


def _literal(number: int) -> Any:
    return sa.literal_column(str(number), sa.BigInteger)


def _local() -> Any:
    """Return the submit as local time, in microseconds since the local epoch."""
    steps = [(responses.c.submit_at < _number(f"until{n}"), _number(f"offset{n}")) for n in range(PIECES - 1)]
    return responses.c.submit_at + sa.case(*steps, else_=_number(f"offset{PIECES - 1}"))


def _floor(value: Any, unit: int) -> Any:
    """Return how many whole units a time since the epoch has."""
    return value // _literal(unit)


def _keys() -> dict[str, Any]:
    day = _floor(_local(), DAY_US)
    return {
        "all": sa.literal_column("''"),
        "source": responses.c.source,
        "rep": responses.c.rep,
        "urgency": responses.c.urgency,
        "day": day,
        "weekday": (day + _literal(3)) % _literal(7),  # the epoch was a Thursday; Monday is 0
        "hour": _floor(_local(), HOUR_US) % _literal(24),
    }


KEYS: Final = ("source", "rep", "urgency", "day", "weekday", "hour")


def _figures(by: str) -> statements.Sql:
    """Build the report by one key. The requests of each key are ranked by their time to the first touch, those without last."""

    def build(dialect: statements.SqlDialect) -> Any:
        of_reps = sa.or_(_number("every_rep") == _literal(1), dialect.is_any_of(responses.c.rep, "reps"))
        rows = (
            sa.select(
                _keys()[by].label("key"),
                responses.c.submit_at,
                responses.c.touched_at,
                responses.c.hour_at,
                responses.c.left_at,
                responses.c.attempts,
                responses.c.conversations,
                responses.c.held_at,
                (responses.c.touched_at - responses.c.submit_at).label("raw"),
                responses.c.working_us.label("working"),
            )
            .where(responses.c.submit_at >= _number("since"), responses.c.submit_at < _number("until"), of_reps)
            .subquery("requests")
        )
        c = rows.c

        def rank(column: Any) -> Any:
            return sa.func.row_number().over(partition_by=c.key, order_by=(column.is_(None), column))

        touched = sa.func.count(c.raw).over(partition_by=c.key)
        ranked = sa.select(
            *c, rank(c.raw).label("raw_rank"), rank(c.working).label("working_rank"), touched.label("of")
        ).subquery("ranked")
        return _grouped(ranked.c)

    return statements.Sql(build)


def _grouped(c: Any) -> Any:
    def count(*conditions: Any) -> Any:
        return sa.func.sum(sa.case((sa.and_(*conditions), _literal(1)), else_=_literal(0)))

    def ranked(value: Any, rank: Any, part: int, of: int) -> Any:
        nearest = (c["of"] * _literal(part) + _literal(of - 1)) // _literal(of)
        return sa.func.max(sa.case((rank == nearest, value)))

    hour, waits = _literal(HOUR_US), sa.and_(c.touched_at.is_(None), c.left_at.is_(None))
    hour_runs = sa.or_(c.hour_at.is_(None), c.hour_at > _number("now"))
    columns = {
        "requests": sa.func.count(),
        "pending": count(waits, c.submit_at > _number("hour_ago")),
        "touched": sa.func.count(c.raw),
        "left": count(c.touched_at.is_(None), c.left_at.is_not(None)),
        "attempts": sa.func.sum(c.attempts),
        "conversations": sa.func.sum(c.conversations),
        "reached": count(c.conversations > _literal(0)),
        "held": count(c.held_at.is_not(None)),
        "within": count(c.raw <= hour),
        "average": sa.func.avg(c.raw),
        "median": ranked(c.raw, c.raw_rank, 1, 2),
        "p90": ranked(c.raw, c.raw_rank, 9, 10),
        "working_pending": count(waits, hour_runs),
        "working_within": count(c.working <= hour),
        "working_average": sa.func.avg(c.working),
        "working_median": ranked(c.working, c.working_rank, 1, 2),
        "working_p90": ranked(c.working, c.working_rank, 9, 10),
    }
    selected = sa.select(c.key, *(column.label(name) for name, column in columns.items())).group_by(c.key)
    return selected.order_by(c.key).limit(_literal(GROUPS_MAX))


_FIGURES: Final = {by: _figures(by) for by in ("all", *KEYS)}


def figures(
    connection: Connection,
    by: str,
    since: datetime,
    now: datetime,
    zone: ZoneInfo,
    until: datetime | None = None,
    *,
    reps: Collection[str] | None = None,
) -> list[Figures]:
    """Return the figures of all requests since this time, for each key. `by` `all`: for all of them together.

    Args:
        now: tells which requests are still within their hour.
        zone: of the days, weekdays and hours.
        until: the end of the report; None: now.
        reps: only the requests of these reps; None: of all.
    """
    rows = _FIGURES[by].all(
        connection,
        since=micros(since),
        until=micros(until or now) + 1,
        now=micros(now),
        hour_ago=micros(now) - HOUR_US,
        every_rep=int(reps is None),
        reps=sorted(reps or ()),
        **_offsets(zone, since, until or now),
    )
    return [Figures(**{name: _plain(row._mapping[name]) for name in Figures.__dataclass_fields__}) for row in rows]


def _plain(value: Any) -> Any:
    """Return a number of PostgreSQL (`Decimal`) as a number of Python."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


def _offsets(zone: ZoneInfo, since: datetime, until: datetime) -> Mapping[str, int]:
    """Return the offsets of a zone as the parameters of a statement, each with the time until which it applies."""
    steps = _steps(zone, since, until)[: PIECES - 1]
    offsets = [_offset(zone, since), *(_offset(zone, step) for step in steps)]
    offsets += [offsets[-1]] * (PIECES - len(offsets))
    ends = [micros(step) for step in steps] + [2**62] * (PIECES - 1 - len(steps))
    return {
        **{f"offset{n}": offset // timedelta(microseconds=1) for n, offset in enumerate(offsets)},
        **{f"until{n}": end for n, end in enumerate(ends)},
    }


def _steps(zone: ZoneInfo, since: datetime, until: datetime) -> Sequence[datetime]:
    """Return the times at which the offset of a zone changes, to the second."""
    days = [since + timedelta(days=n) for n in range((until - since).days + 2)]
    steps = []
    for before, after in pairwise(days):
        if _offset(zone, before) == _offset(zone, after):
            continue
        low, high = before, after
        while high - low > _SECOND:
            middle = low + (high - low) / 2
            low, high = (middle, high) if _offset(zone, middle) == _offset(zone, before) else (low, middle)
        steps.append(high.replace(microsecond=0))
    return steps


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()
