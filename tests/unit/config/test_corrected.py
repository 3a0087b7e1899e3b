"""Once a bad edit has been corrected, the log says so."""

from typing import Any, cast

from structlog.testing import capture_logs

from firsthour.bootstrap.refreshers import ConfigReloader
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.sqlite import SqliteUnits
from tests.unit.config.conftest import ConfigHarness


class IdleUnits:
    """Units that do nothing."""

    async def run(self, work: Any) -> None:
        """Take the configuration up."""


async def test_a_corrected_edit_is_logged_also_when_the_file_is_as_it_was(room: ConfigHarness) -> None:
    files = ConfigFiles(room.directory)
    keeper = ConfigReloader(files, cast(SqliteUnits, IdleUnits()), Telemetry())
    before = (room.directory / "agreement.yaml").read_text()
    with capture_logs() as lines:
        for text in (before.replace("rearm_below: 35", "rearm_below: soon"), before):
            (room.directory / "agreement.yaml").write_text(text)
            await keeper.step()
            await keeper.step()
    assert [line["event"] for line in lines] == [
        "configuration refused, the version in force stays",
        "configuration corrected",
    ]
    assert lines[1]["version"] == files.current.version
