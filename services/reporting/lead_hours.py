"""Leads by the hour at which they entered. Each quarter that is over is counted once, the running one each time.

The hours of some zones begin at a quarter of an hour of UTC (India, Nepal): quarters add up to the hours of every zone.
"""

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
QUARTER_US: Final = 900_000_000
_QUARTERS_OF_DAY: Final = 96
RECOUNT: Final = timedelta(minutes=15)
"""Real time after which the quarters that are over are counted anew: late and merged leads change them."""
FRESH: Final = timedelta(seconds=5)
"""Real time for which the count of the running quarter is used again."""

_quarter = passes.c.start_at // sa.literal_column(str(QUARTER_US))
_COUNT = statements.Sql(
    lambda _: (
        sa.select(_quarter.label("quarter"), sa.func.count().label("leads"))
        .where(passes.c.start_at >= sa.bindparam("since", type_=sa.BigInteger), passes.c.cycle == 1)
        .group_by(_quarter)
    )
)


class LeadHours:
    """The counts of this process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._turn = asyncio.Lock()
        self._counts: dict[int, int] = {}  # by quarter of an hour since the epoch (business time)
        self._recounted_at: datetime | None = None  # real time, as the next
        self._counted_at: datetime | None = None

    async def counts(self) -> Mapping[int, int]:
        """Return the leads that entered in each quarter of an hour of the last `DAYS` days, by its number since the epoch.

        Quarters without a lead may be missing.
        """
        async with self._turn:
            real, running = self._resources.clock.real(), micros(self._resources.clock.business()) // QUARTER_US
            first = running - (DAYS + 2) * _QUARTERS_OF_DAY  # a day of any zone begins within these
            whole = self._recounted_at is None or not timedelta(0) <= real - self._recounted_at < RECOUNT
            if not whole and self._counted_at is not None and real - self._counted_at < FRESH:
                return self._counts
            newest = max(self._counts, default=running)
            since = first if whole else max(first, min(running, newest) - 1)
            found = await self._resources.reads(lambda connection: _count(connection, since))
            kept = {} if whole else {at: number for at, number in self._counts.items() if first <= at < since}
            self._counts, self._counted_at = kept | found, real
            if whole:
                self._recounted_at = real
            return self._counts


def _count(connection: Connection, since: int) -> dict[int, int]:
    return {int(row.quarter): int(row.leads) for row in _COUNT.all(connection, since=since * QUARTER_US)}


def by_hour_of_day(counts: Mapping[int, int], now: datetime, zone: ZoneInfo) -> tuple[list[tuple[int, int]], int]:
    """Return, for each hour of the day in this zone, the leads of the days before today, and those of today.

    Also return the number of the days before today: those since the first lead, `DAYS` at most.
    """
    before, today = [0] * 24, [0] * 24
    date = now.astimezone(zone).date()
    first = date
    for quarter, number in counts.items():
        local = moment(quarter * QUARTER_US).astimezone(zone)
        if local.date() == date:
            today[local.hour] += number
        elif number and date - timedelta(days=DAYS) <= local.date() < date:
            before[local.hour] += number
            first = min(first, local.date())
    return list(zip(before, today, strict=True)), (date - first).days
