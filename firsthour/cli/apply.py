"""`firsthour apply`: puts the three configuration files in force over a database."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

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

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("apply")
def run_apply(
    config: ConfigDir = None,
    at: Annotated[
        datetime | None, typer.Option(help="In force from then on (UTC), instead of now.", metavar="TIME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put agreement.yaml, team.yaml and sources.yaml in force, for every process over this database.

    They are checked first; with a mistake in them what was in force stays, and the exit code is 2.

    Example: firsthour apply --config config
    """
    known = settings.load(config_dir=config)
    if not known.distributed:
        raise SettingsError(
            ("FIRSTHOUR_DATABASE_URL: is not set; without it `firsthour up` takes the files up by itself",)
        )
    version, changed = run(lambda: _apply(known, at))
    if as_json:
        print_json({"version": version, "changed": changed})
    else:
        say(f"version {version} {'is in force' if changed else 'was in force already'}.")


async def _apply(known: Settings, at: datetime | None) -> tuple[str, bool]:
    found = reading.load(known.config_dir)
    texts = {name: text for name in NAMES if not isinstance(text := read(known.config_dir / name), ConfigProblem)}
    await postgres.ready(known)
    url, arguments = connection_options.database(known)
    clock = SharedClock()
    pool = ConnectionPool(url, arguments, size=1)
    units = PostgresUnits(pool, clock, lambda *_: found, partitions=known.kafka_partitions, ask=database_now)
    effective = None if at is None else at.replace(tzinfo=at.tzinfo or clock.real().tzinfo)
    try:
        return found.version, await units.run(lambda unit: config_versions.apply(unit, found, texts, effective))
    finally:
        await asyncio.shield(units.close())
