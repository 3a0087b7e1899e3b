"""Keeps the tallies of days: counts each day again after its passes have changed, so that a report finds few days to count."""

import asyncio
from time import perf_counter
from typing import Final

from sqlalchemy.engine import Connection

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import StorageError
from services.reporting import funnel_tallies
from services.reporting.domain.funnel_steps import FunnelStep, steps_of
from services.reporting.funnel_tallies import DayState
from services.reporting.reports.funnel_counting import FunnelQuery, packed_day, today

FUNNEL_DAYS: Final = "reporting.funnel-days"
IDLE_SECONDS: Final = 15.0
SHARE: Final = 20
"""After a day that took so long to count, the runner waits this many times as long: it uses at most 5 % of a core."""


class FunnelDays:
    """Counts days again, one at a time. The day of today is left out while it changes: a report counts it itself."""

    name = FUNNEL_DAYS

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def step(self) -> bool:
        """Count one day. Return whether there was any."""
        steps = steps_of(self._resources.config.current)
        now = today(self._resources.clock.business())
        try:
            counted = await self._resources.reads(lambda connection: _counted(connection, steps, now))
            if counted is None:
                return False
            day, state, body = counted
            layout = FunnelQuery(steps, 0, 1).layout
            return await self._resources.units.run(
                lambda unit: funnel_tallies.replace_day(unit, day, state, layout, body)
            )
        except StorageError:  # logged by the storage
            return False

    async def run(self) -> None:
        """Count days that have changed, until cancelled."""
        while True:
            began = perf_counter()
            worked = await self.step()
            await asyncio.sleep(SHARE * (perf_counter() - began) if worked else IDLE_SECONDS)


def _counted(connection: Connection, steps: tuple[FunnelStep, ...], now: int) -> tuple[int, DayState, bytes] | None:
    """Return the tally of a day that must be counted, with what was known of the day. None: there is no such day."""
    marked = funnel_tallies.marked_days(connection, 0, now)
    layout = FunnelQuery(steps, 0, 1).layout
    day = marked[-1] if marked else funnel_tallies.day_of_another_layout(connection, layout)
    if day is None:
        return None
    return day, funnel_tallies.state_of(connection, day), packed_day(connection, steps, day)
