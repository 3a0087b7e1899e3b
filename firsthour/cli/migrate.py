"""`firsthour migrate`: creates or upgrades the tables and topics that services need."""

from contextlib import closing

import typer
from sqlalchemy.ext.asyncio import create_async_engine

from firsthour.operations.doctor.checks import DATABASE
from firsthour.runtime import settings
from firsthour.runtime.connectivity import connection_options, postgres
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import grants
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.terminal import AsJson, DataDir, print_json, run, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("migrate")
def run_migrate(data: DataDir = None, as_json: AsJson = False) -> None:
    """Create or upgrade the tables, and create the Kafka topics. Several processes may run it at once.

    In PostgreSQL, each existing database role of a service (FIRSTHOUR_DATABASE_ROLE_PREFIX and its name) gets its rights.
    On the embedded database `up` does this by itself; the command is for an installation that is stopped.

    Example: firsthour migrate
    """
    process_settings = settings.load(data_dir=data)
    if process_settings.distributed:
        changed, topics = run(lambda: _over_the_network(process_settings))
        target = "the database"
    else:
        changed, topics, target = _in_the_file(process_settings), [], str(process_settings.data_dir / DATABASE)
    if as_json:
        print_json({"changed": changed, **({"topics": topics} if process_settings.distributed else {})})
        return
    say(f"{target}: {'upgraded' if changed else 'is up to date'}.")
    if process_settings.distributed:
        say(f"topics: {'created ' + ', '.join(topics) if topics else 'are up to date'}.")


def _in_the_file(process_settings: Settings) -> bool:
    with closing(hold(process_settings.data_dir)):
        engine = writer_engine(process_settings.data_dir / DATABASE)
        try:
            with engine.begin() as connection:
                return migrate(connection)
        finally:
            engine.dispose()


async def _over_the_network(process_settings: Settings) -> tuple[bool, list[str]]:
    return await prepare_database(process_settings), await kafka_admin.create_topics(process_settings)


async def prepare_database(process_settings: Settings) -> bool:
    """Create or upgrade the tables of PostgreSQL, and grant the services their rights. Return whether tables changed.

    Raises:
        UnreachableError: The database cannot be reached or entered.
        UnknownTablesError: This version cannot upgrade the tables.
    """
    await postgres.enter(process_settings)
    url, arguments = connection_options.database(process_settings)
    engine = create_async_engine(url, connect_args=arguments)
    try:
        async with engine.begin() as connection:
            changed = await connection.run_sync(migrate)
            await connection.run_sync(grants.grant, process_settings.database_role_prefix)
    finally:
        await engine.dispose()
    return changed
