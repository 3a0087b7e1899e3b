"""The monitor of the database: it sets the shared clock, and names a host whose clock differs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from firsthour.bootstrap.database_monitor import CLOCK_SECONDS, DatabaseMonitor
from firsthour.runtime.clock import SharedClock
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.config_versions import AppliedConfig
from tests.hand_clock import HandClock

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(minutes=10), "the clock of the database is 600 s ahead of that of this host"),
        (timedelta(minutes=-10), "the clock of the database is 600 s behind that of this host"),
        (timedelta(seconds=30), None),
    ],
)
async def test_clock_of_the_database_counts_and_a_difference_is_a_warning(
    tmp_path: Path, ahead: timedelta, text: str | None
) -> None:
    host, shared = HandClock(NOON), SharedClock()

    async def reads(work: Any) -> datetime:
        return host.now + ahead

    config = AppliedConfig(shared, tmp_path, None)
    monitor = DatabaseMonitor(reads, config, shared, Telemetry(), host=host)  # type: ignore[arg-type]
    await monitor.step()
    assert abs(shared.real() - (NOON + ahead)) < timedelta(seconds=CLOCK_SECONDS)
    assert [line.partition(";")[0] for line in monitor.warnings()] == ([] if text is None else [text])
