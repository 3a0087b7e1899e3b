"""The sessions of people in the console, the links that begin them, and the list of running clocks."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.Text()
RUNNING = "state IN ('live', 'missed')"
RUNNING_CLOCKS = """
CREATE VIEW running_clocks AS
SELECT lead_id AS id, promise_at FROM notifier_clocks WHERE state IN ('live', 'missed')
"""
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "console_sessions",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("rep", TEXT),
        sa.Column("key_id", TEXT),
        sa.Column("agent", TEXT, nullable=False),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("expires_at", INTEGER, nullable=False),
        sa.Column("used_at", INTEGER, nullable=False),
    )
    op.create_index("console_sessions_by_hash", "console_sessions", ["hash"], unique=True)
    op.create_index("console_sessions_by_expiry", "console_sessions", ["expires_at"])
    op.create_table(
        "console_links",
        sa.Column("hash", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("rep", TEXT),
        sa.Column("expires_at", INTEGER, nullable=False),
    )
    op.create_index("console_links_by_expiry", "console_links", ["expires_at"])
    running = sa.text(RUNNING)
    op.create_index(
        "notifier_clocks_running",
        "notifier_clocks",
        ["promise_at", "lead_id"],
        sqlite_where=running,
        postgresql_where=running,
    )
    op.execute(RUNNING_CLOCKS)


def downgrade() -> None:
    """Remove the tables."""
    op.execute("DROP VIEW running_clocks")
    op.drop_index("notifier_clocks_running", "notifier_clocks")
    for table in ("console_links", "console_sessions"):
        op.drop_table(table)
