"""`firsthour migrate` and `apply`: what has to be there before anything can run, and what is to be in force."""

import asyncio
from contextlib import closing
from datetime import datetime
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import create_async_engine

from firsthour.operations.doctor.checks import DATABASE
from firsthour.runtime import settings
from firsthour.runtime.clock import SharedClock
from firsthour.runtime.config import reading
from firsthour.runtime.config.reading import NAMES
from firsthour.runtime.config.yaml_source import ConfigProblem, read
from firsthour.runtime.connectivity import connection_options, postgres
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.settings import Settings, SettingsError
from firsthour.runtime.storage import config_versions, grants
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.postgres import ConnectionPool, PostgresUnits, database_now
from firsthour.runtime.storage.sqlite import hold, writer_engine
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, run, say


def add(app: typer.Typer) -> None:
    """These commands."""

    @app.command("migrate")
    def run_migrate(data: DataDir = None, as_json: AsJson = False) -> None:
        """Bring the tables up to date, and over Kafka make the topics. Several may do it at once.

        In PostgreSQL each service's role (FIRSTHOUR_DATABASE_ROLE_PREFIX and its name) gets its rights, where it exists.
        Embedded, `up` does it by itself; this is for doing it while nothing runs.

        Example: firsthour migrate
        """
        known = settings.load(data_dir=data)
        if known.distributed:
            changed, topics = run(lambda: _over_the_network(known))
            place = "the database"
        else:
            changed, topics, place = _in_the_file(known), [], str(known.data_dir / DATABASE)
        if as_json:
            print_json({"changed": changed, **({"topics": topics} if known.distributed else {})})
            return
        say(f"{place}: {'brought up to date' if changed else 'is up to date'}.")
        if known.distributed:
            say(f"topics: {'made ' + ', '.join(topics) if topics else 'are there'}.")

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


def _in_the_file(known: Settings) -> bool:
    with closing(hold(known.data_dir)):
        engine = writer_engine(known.data_dir / DATABASE)
        try:
            with engine.begin() as connection:
                return migrate(connection)
        finally:
            engine.dispose()


async def _over_the_network(known: Settings) -> tuple[bool, list[str]]:
    return await prepare_database(known), await kafka_admin.create_topics(known)


async def prepare_database(known: Settings) -> bool:
    """Bring the tables of PostgreSQL up to date and grant the services their rights; whether tables were changed."""
    url, arguments = connection_options.database(known)
    engine = create_async_engine(url, connect_args=arguments)
    try:
        async with engine.begin() as connection:
            changed = await connection.run_sync(migrate)
            await connection.run_sync(grants.grant, known.database_role_prefix)
    finally:
        await engine.dispose()
    return changed


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
