"""`firsthour apply`: puts the three configuration files in force for a distributed installation."""

import asyncio
import getpass
import os
import socket
from datetime import datetime
from typing import Annotated, Final

import typer

from firsthour.kernel.config import Config
from firsthour.kernel.printable import printable
from firsthour.runtime import settings
from firsthour.runtime.clock import SharedClock
from firsthour.runtime.config import reading
from firsthour.runtime.config.documents import ConfigProblem
from firsthour.runtime.config.reading import NAMES
from firsthour.runtime.config.yaml_source import read
from firsthour.runtime.connectivity import connection_options, postgres
from firsthour.runtime.settings import Settings, SettingsError
from firsthour.runtime.storage import config_versions
from firsthour.runtime.storage.postgres import PostgresUnits, database_now
from firsthour.runtime.storage.postgres_connections import ConnectionPool
from firsthour.runtime.terminal import AsJson, ConfigDir, print_json, run, say
from services.notifier import ways

PERSON_CHARS_MAX: Final = 200
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("apply")
def run_apply(
    config: ConfigDir = None,
    at: Annotated[
        datetime | None, typer.Option(help="Put them in force at this time (UTC) instead of now.", metavar="TIME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the configuration files in force for all processes. This is for distributed installations.

    The files are checked first. If one has a mistake, nothing changes and the exit code is 2.

    Example: firsthour apply --config config
    """
    process_settings = settings.load(config_dir=config)
    if not process_settings.distributed:
        raise SettingsError(
            ("FIRSTHOUR_DATABASE_URL: is not set; without a database `firsthour up` reads the files by itself",)
        )
    checked, changed = run(lambda: _apply(process_settings, at))
    warnings = list(ways.problems(checked, settings.environ(), process_settings))
    if as_json:
        print_json({"version": checked.version, "changed": changed, "warnings": warnings})
    else:
        for warning in warnings:
            say(f"warning: {warning}; this counts for the processes that run the notifier")
        say(f"version {checked.version} {'was applied' if changed else 'is applied already'}.")


async def _apply(process_settings: Settings, at: datetime | None) -> tuple[Config, bool]:
    config = reading.load(process_settings.config_dir)
    texts = {
        name: text for name in NAMES if not isinstance(text := read(process_settings.config_dir / name), ConfigProblem)
    }
    await postgres.ready(process_settings)
    url, arguments = connection_options.database(process_settings)
    clock = SharedClock()
    pool = ConnectionPool(url, arguments, size=1)
    units = PostgresUnits(
        pool, clock, lambda *_: config, partitions=process_settings.kafka_partitions, ask=database_now
    )
    effective = None if at is None else at.replace(tzinfo=at.tzinfo or clock.real().tzinfo)
    try:
        return config, await units.run(lambda unit: config_versions.apply(unit, config, texts, effective, _person()))
    finally:
        await asyncio.shield(units.close())


def _person() -> str:
    """Return the user of the operating system and the host, for the history of versions."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = str(os.getuid())
    return printable(f"{user}@{socket.gethostname()}")[:PERSON_CHARS_MAX]
