"""Migrates the tables: one Alembic history for SQLite and PostgreSQL."""

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
    """Raised when the tables belong to no version of FirstHour."""


_LOCK: Final = 0x1EAD_FFFF_0000_0000  # the key of an advisory lock, which ends with the transaction


State = Literal["current", "empty", "older", "newer", "unknown"]


def migrate(connection: Connection) -> bool:
    """Run the missing migrations inside the caller's transaction. Return whether there were any.

    Several processes may do so at once: on PostgreSQL they take turns, on SQLite there is one writer. Tables of a newer
    version stay unchanged: migrations only add, so this version still works on them.
    """
    settings = _settings(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = '5min'"))  # other processes may migrate for a while
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    current = state(connection)
    if current == "unknown":
        raise UnknownTablesError(
            f"the tables are of revision {_revision(connection)!r}, which no version of FirstHour created; "
            "use another database, or restore the latest backup"
        )
    if current in ("current", "newer"):
        return False
    command.upgrade(settings, "head")
    return True


def is_current(connection: Connection) -> bool:
    """Return whether this code can work on the tables. Those of a newer version are included, since migrations only add."""
    return state(connection) in ("current", "newer")


def state(connection: Connection) -> State:
    """Return the state of the tables, compared with the migrations of this code."""
    script = ScriptDirectory.from_config(_settings(connection))
    head, revision = script.get_current_head(), _revision(connection)
    if revision is None:
        return "empty"
    if revision == head:
        return "current"
    if any(script_revision.revision == revision for script_revision in script.walk_revisions()):
        return "older"
    return "newer" if head is not None and revision.isdigit() and revision > head else "unknown"


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _settings(connection: Connection) -> AlembicConfig:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(migrations()))
    settings.attributes["connection"] = connection
    return settings
