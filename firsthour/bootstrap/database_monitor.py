"""Monitors PostgreSQL, for readiness, the configuration in force and the shared clock."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import SKEW_MAX, Clock, HostClock, SharedClock
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.config_versions import IN_FORCE, AppliedConfig
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import StorageError

DATABASE_MONITOR: Final = "runtime.watch"
LOOK_SECONDS: Final = 1.0  # between two checks of configuration and database
CLOCK_SECONDS: Final = 10.0  # between two settings of the shared clock
ANSWER_SECONDS: Final = 5.0  # then the database counts as unreachable
CLOCK_ERROR_SECONDS: Final = 0.1  # a database time that took longer to arrive is too old to set the clock by

_LOOK: Final = statements.Sql(
    lambda _: sa.select(IN_FORCE.scalar_subquery(), sa.literal_column(statements.MICROSECONDS).label("at"))
)

_log = structlog.get_logger(__name__)


class DatabaseMonitor:
    """Reads the configuration in force and the time from the database each second, and notes whether it is reachable."""

    name = DATABASE_MONITOR

    def __init__(
        self,
        reads: Reader,
        config: AppliedConfig,
        clock: Clock,
        telemetry: Telemetry,
        answer_seconds: float = ANSWER_SECONDS,
        host: Clock | None = None,  # None: the clock of this host
    ) -> None:
        """`reads`: used by nothing else, because other queries may take long although the database works."""
        self._host = host or HostClock()
        self._ahead = timedelta()  # of the clock of the database before that of the host
        self._reads, self._config, self._clock, self._telemetry = reads, config, clock, telemetry
        self._answer_seconds = answer_seconds
        self._set_at = -CLOCK_SECONDS
        self.database = "not checked yet"  # the check of readiness: `ok`, or why it is unreachable

    async def step(self) -> bool:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._answer_seconds):
                now = await self._reads(self._look)
        except (StorageError, TimeoutError) as failure:
            why = str(failure) or "the database does not answer"
            if self.database == "ok":
                _log.warning("database unreachable", problem=why)
            self.database = why
            return False
        if self.database != "ok":
            _log.info("database reachable")
        self.database = "ok"
        self._set_clock(now, started)
        self._telemetry.config(self._config.problem is None)
        return False

    def _set_clock(self, now: datetime, started: float) -> None:
        """`started`: the monotonic second in which the database was asked for `now`."""
        exact = self._clock.monotonic() - started <= CLOCK_ERROR_SECONDS
        if isinstance(self._clock, SharedClock) and exact and started - self._set_at >= CLOCK_SECONDS:
            self._clock.set(now)
            self._set_at = started
            self._ahead = now - self._host.real()

    def warnings(self) -> list[str]:
        """Return the warning that the clocks of this host and of the database differ."""
        if abs(self._ahead) <= SKEW_MAX:
            return []
        side = "ahead of" if self._ahead > timedelta() else "behind"
        seconds = f"{abs(self._ahead).total_seconds():.0f} s"
        remedy = "set both by NTP: promises and the signatures of requests are judged by the database's"
        return [f"the clock of the database is {seconds} {side} that of this host; {remedy}"]

    def _look(self, connection: Connection) -> datetime:
        row = _LOOK.first(connection, now=micros(self._clock.business()))
        self._config.of(connection, row[0])
        return moment(row[1])

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(LOOK_SECONDS)
