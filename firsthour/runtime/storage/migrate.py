"""Brings the tables up to date: one Alembic history for SQLite and PostgreSQL."""

from typing import Final, Literal

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from firsthour.runtime.package_files import migrations
from schemas.errors import FirstHourError


class UnknownTablesError(FirstHourError):
    """The tables are of no version of FirstHour."""


_LOCK: Final = 0x1EAD_FFFF_0000_0000  # of our own; it ends with the transaction


State = Literal["current", "empty", "older", "newer", "unknown"]


def migrate(connection: Connection) -> bool:
    """Run what is missing, inside the caller's transaction; whether anything was. Several may do so at once: on
    PostgreSQL they go one after the other, on SQLite there is one writer. Tables of a newer version stay as they are:
    migrations only add, so this version goes on working on them."""
    settings = _settings(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = '5min'"))  # the others may take a while
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found = state(connection)
    if found == "unknown":
        raise UnknownTablesError(
            f"the database says that its tables are of revision {_revision(connection)!r}, which no FirstHour made; "
            "name another database, or restore the latest backup"
        )
    if found in ("current", "newer"):
        return False
    command.upgrade(settings, "head")
    return True


def is_current(connection: Connection) -> bool:
    """Whether this code can work on the tables: they are its own, or those of a newer version, which only add."""
    return state(connection) in ("current", "newer")


def state(connection: Connection) -> State:
    """How the tables stand to this code."""
    script = ScriptDirectory.from_config(_settings(connection))
    head, found = script.get_current_head(), _revision(connection)
    if found is None:
        return "empty"
    if found == head:
        return "current"
    if any(one.revision == found for one in script.walk_revisions()):
        return "older"
    return "newer" if head is not None and found.isdigit() and found > head else "unknown"


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _settings(connection: Connection) -> AlembicConfig:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(migrations()))
    settings.attributes["connection"] = connection
    return settings
