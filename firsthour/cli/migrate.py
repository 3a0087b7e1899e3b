"""`firsthour migrate`: the tables and topics that have to be there before anything can run."""

from contextlib import closing

import typer
from sqlalchemy.ext.asyncio import create_async_engine

from firsthour.operations.doctor.checks import DATABASE
from firsthour.runtime import settings
from firsthour.runtime.connectivity import connection_options
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
