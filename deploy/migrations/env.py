"""Alembic's environment: runs on the connection it is handed, or writes SQL for one it is not."""

from alembic import context

connection = context.config.attributes.get("connection")
metadata = context.config.attributes.get("metadata")  # given where a migration is being written

if connection is None:
    context.configure(
        dialect_name=context.config.get_main_option("dialect") or "postgresql",
        target_metadata=metadata,
        literal_binds=True,
    )
else:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)

with context.begin_transaction():
    context.run_migrations()
