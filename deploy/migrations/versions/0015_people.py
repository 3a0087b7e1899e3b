"""The audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INDEXES = {
    "audit_log_by_age": ["at", "id"],
    "audit_log_by_actor": ["actor", "at", "id"],
    "audit_log_by_target": ["target", "at", "id"],
}


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "audit_log",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("at", INTEGER, nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("actor", "role", "via", "action", "target")),
        sa.Column("status", INTEGER, nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "audit_log", columns)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("audit_log")
