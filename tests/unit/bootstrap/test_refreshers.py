"""Once a bad edit has been corrected, the log says so."""

from typing import Any, cast

import sqlalchemy as sa
from structlog.testing import capture_logs

from firsthour.bootstrap.refreshers import ConfigReloader
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.config_versions import AppliedConfig, applied
from firsthour.runtime.storage.sqlite import SqliteUnits
from tests.empty_tables import memory_engine
from tests.hand_clock import HandClock
from tests.unit.runtime.config.harness import ConfigHarness


class IdleUnits:
    """Units that do nothing."""

    async def run(self, work: Any) -> None:
        """Take the configuration up."""


async def test_correction_is_logged_even_if_the_file_is_unchanged(harness: ConfigHarness) -> None:
    files = ConfigFiles(harness.directory)
    keeper = ConfigReloader(files, cast(SqliteUnits, IdleUnits()), Telemetry())
    before = (harness.directory / "agreement.yaml").read_text()
    with capture_logs() as lines:
        for text in (before.replace("rearm_below: 35", "rearm_below: soon"), before):
            (harness.directory / "agreement.yaml").write_text(text)
            await keeper.step()
            await keeper.step()
    assert [line["event"] for line in lines] == [
        "configuration refused",
        "configuration corrected",
    ]
    assert lines[1]["version"] == files.current.version


def test_version_that_corrects_a_refused_one_is_logged(harness: ConfigHarness) -> None:
    """Another release applied a configuration that this one cannot read."""
    engine = memory_engine()
    applied_config = AppliedConfig(HandClock(), harness.directory)
    texts = {name: (harness.directory / f"{name}.yaml").read_text() for name in ("agreement", "team", "sources")}
    before = texts["agreement"]
    with capture_logs() as lines:
        for agreement in (
            before,
            before.replace("rearm_below: 35", "rearm_below: soon"),
            before,
            before + "\n# anew\n",
        ):
            row = {**texts, "agreement": agreement, "version": "v", "applied_at": 1, "effective_at": 1}
            with engine.begin() as connection:
                connection.execute(sa.insert(applied).values(row))
                applied_config.of(connection)
    engine.dispose()
    assert [line["event"] for line in lines] == [
        "configuration in force",
        "configuration refused",
        "configuration in force",
        "configuration corrected",
        "configuration in force",
    ]
    assert lines[3]["version"] == lines[2]["version"]
    assert applied_config.problem is None
