"""A database that `firsthour migrate` has not prepared, or that another version has, is one sentence with the remedy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig

from devtools.postgres import PostgresServer
from firsthour.cli.app import main
from firsthour.runtime import package_files, settings
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.connectivity import postgres as database_look
from firsthour.runtime.package_files import migrations
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.migrate import UnknownTablesError, is_current, migrate, state
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.postgres_connections import ConnectionPool, open_engine
from firsthour.runtime.storage.postgres_reader import PostgresReader
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import StorageError
from tests.backends import execute
from tests.contract.conftest import NO_CONFIG
from tests.hand_clock import HandClock
from tests.shared import named

COMMANDS = [
    ("apply", "--config", str(package_files.examples())),
    ("verify",),
    ("keys", "list"),
    ("keys", "create", "--role", "admin", "--name", "me"),
    ("deadletters", "list"),
    ("deadletters", "show", "01a20150"),
]
DATABASE = named("unprepared")
RunCommand = Callable[..., tuple[object, str]]
"""Runs a command. Returns its exit code and what it wrote to standard error."""
SENTENCE = f"database: database {DATABASE} has no tables yet; run `firsthour migrate`\n"


@pytest.fixture
def unprepared(postgres: PostgresServer) -> Iterator[str]:
    yield postgres.create(DATABASE)
    postgres.drop(DATABASE)


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], restored_logging: None
) -> RunCommand:
    """Return a function that runs a command in this process, with this database and directory of data."""

    def run(database_url: str, data: Path, *words: str) -> tuple[object, str]:
        ours = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP": "127.0.0.1:1", "DATA_DIR": str(data)}
        for name, value in ours.items():
            monkeypatch.setenv(f"FIRSTHOUR_{name}", value)
        with pytest.raises(SystemExit) as ended:
            main(words)
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_forgotten_migrate_is_one_sentence_of_every_command(
    unprepared: str, command: tuple[str, ...], tmp_path: Path, run_command: RunCommand
) -> None:
    assert run_command(unprepared, tmp_path, *command) == (1, SENTENCE)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            (f"/{DATABASE}", "/no_such_database"),
            " has no database no_such_database; create it, or correct the name in ",
        ),
        (("127.0.0.1", "no-such-host.invalid"), "no-such-host.invalid"),
        (("firsthour@", "no_such_user@"), "no_such_user"),
    ],
)
def test_migrate_names_the_fault_of_an_address(
    unprepared: str, change: tuple[str, str], problem: str, tmp_path: Path, run_command: RunCommand
) -> None:
    code, lines = run_command(unprepared.replace(*change), tmp_path, "migrate")
    assert (code, lines.count("\n")) == (1, 1)
    assert lines.startswith("database: ")
    assert problem in lines


async def test_a_statement_on_tables_that_are_not_there_is_a_state_to_wait_for(unprepared: str) -> None:
    own_settings = settings.load(database_url=unprepared, kafka_bootstrap="127.0.0.1:1")
    url, arguments = connection_options.database(own_settings)
    reads = PostgresReader(open_engine(url, arguments, size=1))
    with pytest.raises(StorageError, match="run `firsthour migrate`"):
        await reads(lambda connection: connection.execute(sa.text("SELECT * FROM applied")))
    await reads.close()
    (trouble,) = await database_look.examine_database(own_settings)
    assert (str(trouble) + "\n", trouble.stops) == (SENTENCE, True)


_ALTER = sa.text('ALTER TABLE kept ALTER COLUMN name TYPE text COLLATE "C"')
_KEPT = statements.Sql(lambda _: sa.select(sa.column("name")).select_from(sa.table("kept")))


async def test_a_migration_under_a_process_that_runs_fails_no_unit_and_no_reading(unprepared: str) -> None:
    url, arguments = connection_options.database(settings.load(database_url=unprepared, kafka_bootstrap="127.0.0.1:1"))
    pool, engine = ConnectionPool(url, arguments, size=1), open_engine(url, arguments, size=1)
    units = PostgresUnits(pool, HandClock(), lambda *_: NO_CONFIG, partitions=1, ask=None)
    reads = PostgresReader(open_engine(url, arguments, size=1))
    await units.run(lambda unit: execute(unit, "CREATE TABLE kept (name text)"))
    for _ in range(2):  # the sessions have plans for the table as it is at first
        assert list(await units.run(lambda unit: _KEPT.all(unit.connection))) == []
        assert list(await reads(_KEPT.all)) == []
        async with engine.begin() as connection:
            await connection.execute(_ALTER)
    await engine.dispose()
    await units.close()
    await reads.close()


@pytest.mark.parametrize(
    ("revision", "version_state", "works"),
    [("0001", "outdated", False), ("9999", "newer", True), ("f00d", "unknown", False)],
)
def test_tables_of_another_version_are_recognised(
    tmp_path: Path, revision: str, version_state: str, *, works: bool
) -> None:
    engine = writer_engine(tmp_path / "firsthour.db")
    with engine.begin() as connection:
        assert (state(connection), is_current(connection)) == ("empty", False)
        migrate(connection)
        assert (state(connection), is_current(connection)) == ("current", True)
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (revision,))
        assert (state(connection), is_current(connection)) == (version_state, works)
        if version_state == "newer":
            assert not migrate(connection), "migrations only add: this version works on"
        if not works:
            with pytest.raises(UnknownTablesError, match=f"revision {revision}"):
                migrate(connection)
    engine.dispose()


def test_tables_of_another_program_are_recognised(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "firsthour.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")
        assert (state(connection), is_current(connection)) == ("unknown", False)
        with pytest.raises(UnknownTablesError, match="no version of FirstHour created"):
            migrate(connection)
    engine.dispose()


def test_tables_since_the_oldest_readable_version_are_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firsthour.runtime.storage.migrate.OLDEST", "0009")
    engine = writer_engine(tmp_path / "firsthour.db")
    with engine.begin() as connection:
        settings = AlembicConfig()
        settings.set_main_option("script_location", str(migrations()))
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0009")
        assert state(connection) == "older"
        assert migrate(connection)
        assert state(connection) == "current"
    engine.dispose()
