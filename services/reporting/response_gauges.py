"""Sets the metrics of the first hour: the figures of the last days, read every minute."""

import asyncio
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import StorageError
from services.reporting.figures import figures
from services.reporting.response_routes import NO_REQUESTS, UTC_ZONE, figures_view

RESPONSE_GAUGES: Final = "reporting.gauges"
DAYS: Final = 7
SECONDS: Final = 60.0


class ResponseGauges:
    """Sets the metrics of the first hour, over the requests of the last `DAYS`, for each urgency."""

    name = RESPONSE_GAUGES

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def step(self) -> bool:
        """Read the figures, and set the metrics. Return False: nothing else is due."""
        now = self._resources.clock.business()
        since = now - timedelta(days=DAYS)
        try:
            rows = await self._resources.reads(
                lambda connection: figures(connection, "urgency", since, now, ZoneInfo(UTC_ZONE))
            )
        except StorageError:  # logged by the storage
            return False
        by_urgency = {
            name: figures_view(NO_REQUESTS) for name in self._resources.config.current.agreement.response.urgencies
        }
        by_urgency |= {str(row.key): figures_view(row) for row in rows}
        self._resources.telemetry.first_hour.set(by_urgency)
        return False

    async def run(self) -> None:
        """Set the metrics every minute, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(SECONDS)
