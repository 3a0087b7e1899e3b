"""The sessions of people in the console, and the links that begin them."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.Text()
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


def downgrade() -> None:
    """Remove the tables."""
    for table in ("console_links", "console_sessions"):
        op.drop_table(table)
