"""Brings the tables up to date: one Alembic history for SQLite and PostgreSQL."""

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from services.runtime.files import migrations


def migrate(connection: Connection) -> bool:
    """Run what is missing, inside the caller's transaction; whether anything was."""
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(migrations()))
    settings.attributes["connection"] = connection
    head = ScriptDirectory.from_config(settings).get_current_head()
    if MigrationContext.configure(connection).get_current_revision() == head:
        return False
    command.upgrade(settings, "head")
    return True


def is_current(connection: Connection) -> bool:
    """Whether the tables are those this code wants."""
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(migrations()))
    head = ScriptDirectory.from_config(settings).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == head
