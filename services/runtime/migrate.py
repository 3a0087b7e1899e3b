"""Brings the tables up to date: one Alembic history for SQLite and PostgreSQL."""

from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from services.runtime.files import migrations

_LOCK: Final = 0x1EAD_FFFF_0000_0000  # of our own; it ends with the transaction


def migrate(connection: Connection) -> bool:
    """Run what is missing, inside the caller's transaction; whether anything was. Several may do so at once: on
    PostgreSQL they go one after the other, on SQLite there is one writer."""
    settings = _settings(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = '5min'"))  # the others may take a while
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    if _is_head(connection, settings):
        return False
    command.upgrade(settings, "head")
    return True


def is_current(connection: Connection) -> bool:
    """Whether the tables are those this code wants."""
    return _is_head(connection, _settings(connection))


def _settings(connection: Connection) -> AlembicConfig:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(migrations()))
    settings.attributes["connection"] = connection
    return settings


def _is_head(connection: Connection, settings: AlembicConfig) -> bool:
    head = ScriptDirectory.from_config(settings).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == head
