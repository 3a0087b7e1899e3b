"""Leads by the hour at which they entered. Each hour that is over is counted once, the running one each time."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from services.reporting.funnel_passes import passes

DAYS: Final = 28
HOUR_US: Final = 3_600_000_000
RECOUNT: Final = timedelta(minutes=15)
"""Real time after which the hours that are over are counted anew: late and merged leads change them."""
FRESH: Final = timedelta(seconds=5)
"""Real time for which the count of the running hour is used again."""

_hour = passes.c.start_at // sa.literal_column(str(HOUR_US))
_COUNT = statements.Sql(
    lambda _: (
        sa.select(_hour.label("hour"), sa.func.count().label("leads"))
        .where(passes.c.start_at >= sa.bindparam("since", type_=sa.BigInteger), passes.c.cycle == 1)
        .group_by(_hour)
    )
)


class LeadHours:
    """The counts of this process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._turn = asyncio.Lock()
        self._counts: dict[int, int] = {}  # by hour since the epoch (business time)
        self._recounted_at: datetime | None = None  # real time, as the next
        self._counted_at: datetime | None = None

    async def counts(self) -> Mapping[int, int]:
        """Return the leads that entered in each hour of the last `DAYS` days. Hours without a lead may be missing."""
        async with self._turn:
            real, hour = self._resources.clock.real(), micros(self._resources.clock.business()) // HOUR_US
            first = hour - (DAYS + 2) * 24  # a day of any zone begins within these
            whole = self._recounted_at is None or not timedelta(0) <= real - self._recounted_at < RECOUNT
            if not whole and self._counted_at is not None and real - self._counted_at < FRESH:
                return self._counts
            newest = max(self._counts, default=hour)
            since = first if whole else max(first, min(hour, newest) - 1)
            found = await self._resources.reads(lambda connection: _count(connection, since))
            kept = {} if whole else {at: number for at, number in self._counts.items() if first <= at < since}
            self._counts, self._counted_at = kept | found, real
            if whole:
                self._recounted_at = real
            return self._counts


def _count(connection: Connection, since: int) -> dict[int, int]:
    return {int(row.hour): int(row.leads) for row in _COUNT.all(connection, since=since * HOUR_US)}


def by_hour_of_day(counts: Mapping[int, int], now: datetime, zone: ZoneInfo) -> list[tuple[int, int]]:
    """Return, for each hour of the day in this zone, the leads of the `DAYS` days before today, and those of today."""
    before, today = [0] * 24, [0] * 24
    date = now.astimezone(zone).date()
    for hour, number in counts.items():
        local = moment(hour * HOUR_US).astimezone(zone)
        if local.date() == date:
            today[local.hour] += number
        elif date - timedelta(days=DAYS) <= local.date() < date:
            before[local.hour] += number
    return list(zip(before, today, strict=True))
