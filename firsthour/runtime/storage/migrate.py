"""Migrates the tables: one Alembic history for SQLite and PostgreSQL."""

import importlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.package_files import migrations
from firsthour.runtime.storage.statements import metadata
from schemas.errors import FirstHourError


class UnknownTablesError(FirstHourError):
    """Raised when the tables belong to no version of FirstHour, or to one whose records this version cannot read."""


class TablesError(FirstHourError):
    """Raised when a command cannot work on the tables until another command has changed them."""


_LOCK: Final = 0x1EAD_FFFF_0000_0000  # the key of an advisory lock, which ends with the transaction


_VERSIONS: Final = "alembic_version"  # the table in which Alembic stores the revision

OLDEST: Final = "0010"
"""The first revision whose records this version can read: before it, the events had other names."""

State = Literal["current", "empty", "older", "outdated", "newer", "unknown"]
"""`empty`: a database without tables. `outdated`: of a version whose records cannot be read. `unknown`: of no version."""

PROBLEMS: Final[Mapping[State, tuple[str, str]]] = {
    "empty": ("no tables yet", "run `firsthour migrate`"),
    "older": ("the tables of an older version", "run `firsthour migrate`"),
    "outdated": (
        "the tables of a version whose records this version cannot read",
        "start with an empty data directory, or with a new database and new topics",
    ),
    "unknown": (
        "tables that no version of FirstHour created",
        "use another database, or restore the latest backup",
    ),
}
"""The problem with tables on which this version cannot work, as the object of "has", and the remedy."""


def migrate(connection: Connection) -> bool:
    """Run the missing migrations inside the caller's transaction. Return whether there were any.

    Several processes may do so at once: on PostgreSQL they take turns, on SQLite there is one writer. Tables of a newer
    version stay unchanged: migrations only add, so this version still works on them.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = '5min'"))  # other processes may migrate for a while
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    current = state(connection)
    if current in ("unknown", "outdated"):
        problem, remedy = PROBLEMS[current]
        raise UnknownTablesError(f"the database has {problem} (revision {_revision(connection) or 'none'}); {remedy}")
    if current == "newer":
        return False
    if current == "current":
        return _add_missing(connection)
    _upgrade(connection)
    return True


def _upgrade(connection: Connection) -> None:
    """Run the missing migrations. Alembic is loaded here: it takes a tenth of a second, and most starts have none to run."""
    command, config = (importlib.import_module(f"alembic.{name}") for name in ("command", "config"))
    settings: Any = config.Config()
    settings.set_main_option("script_location", str(migrations()))
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def _add_missing(connection: Connection) -> bool:
    """Create the tables that the database lacks. The newest migration gains tables until it is released."""
    existing = set(sa.inspect(connection).get_table_names())
    missing = [table for name, table in metadata.tables.items() if name not in existing]
    if missing:
        metadata.create_all(connection, missing, checkfirst=False)
    return bool(missing)


def is_current(connection: Connection) -> bool:
    """Return whether this code can work on the tables. Those of a newer version are included, since migrations only add."""
    return state(connection) not in PROBLEMS


def state(connection: Connection) -> State:
    """Return the state of the tables, compared with the migrations of this code."""
    known, revision = _revisions(), _revision(connection)
    if revision is None:
        return "unknown" if _has_foreign_tables(connection) else "empty"
    if revision == known[-1]:
        return "current"
    if revision in known:
        return "older" if revision >= OLDEST else "outdated"
    return "newer" if revision.isdigit() and revision > known[-1] else "unknown"


def _revisions() -> list[str]:
    """Return the revisions of this code in their order: the numbers with which the files of the migrations begin."""
    return sorted(file.name.partition("_")[0] for file in (migrations() / "versions").glob("[0-9]*_*.py"))


def _has_foreign_tables(connection: Connection) -> bool:
    """Return whether a file without a revision has tables. A database of PostgreSQL may be shared with other programs."""
    if connection.dialect.name != "sqlite":
        return False
    return connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1").first() is not None


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSIONS):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608  # a constant
