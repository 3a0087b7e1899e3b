"""One migration history for both databases; it creates the tables that the code declares."""

import io
from contextlib import redirect_stdout
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from firsthour.bootstrap.embedded import open_system
from firsthour.runtime.package_files import migrations
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.migrate import is_current, migrate
from firsthour.runtime.storage.sqlite_engines import writer_engine


def test_migrations_create_the_declared_tables(tmp_path: Path) -> None:
    assert callable(open_system)  # its module imports every store
    with writer_engine(tmp_path / "new.db").begin() as connection:
        assert migrate(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, statements.metadata) == []


def test_file_of_a_migration_begins_with_its_revision() -> None:
    script = ScriptDirectory(str(migrations()))
    revisions = [one.revision for one in script.walk_revisions()]
    files = sorted((migrations() / "versions").glob("*.py"), reverse=True)
    assert [file.name.partition("_")[0] for file in files] == revisions
    assert revisions[0] == script.get_current_head()


def test_second_migration_changes_nothing(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "twice.db")
    with engine.begin() as connection:
        assert not is_current(connection)
        assert migrate(connection)
    with engine.begin() as connection:
        assert is_current(connection)
        assert not migrate(connection)


def test_database_of_an_earlier_state_of_the_newest_migration_gains_the_missing_tables(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "earlier.db")
    with engine.begin() as connection:
        assert migrate(connection)
        connection.exec_driver_sql("DROP TABLE reporting_fields")
        assert migrate(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, statements.metadata) == []


def test_failed_migration_is_rolled_back(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "half.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE seen (x TEXT)")  # in the way of the last table
    try:
        with engine.begin() as connection:
            migrate(connection)
    except Exception:  # noqa: BLE001  # whatever the driver calls it
        pass
    with engine.begin() as connection:
        names = [row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert names == ["seen"]


def test_migrations_compile_for_postgresql() -> None:
    settings = Config()
    settings.set_main_option("script_location", str(migrations()))
    settings.set_main_option("dialect", "postgresql")
    written = io.StringIO()
    settings.output_buffer = written
    with redirect_stdout(written):
        command.upgrade(settings, "head", sql=True)
    text = written.getvalue()
    assert "CREATE TABLE router_leads" in text
    assert "CREATE UNIQUE INDEX router_one_open ON router_assignments (lead_id) WHERE closed_at IS NULL" in text
    assert "BIGSERIAL" in text
