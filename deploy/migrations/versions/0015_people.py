"""The audit log, and the terms of the search."""

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
    """Add the tables. The terms are taken from the history once the new release runs."""
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
    op.create_table(
        "reporting_search",
        sa.Column("lead_id", TEXT, primary_key=True),
        sa.Column("terms", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reporting_terms",
        sa.Column("term", TEXT, nullable=False),
        sa.Column("lead_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("term", "lead_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("reporting_terms", "reporting_search", "audit_log"):
        op.drop_table(name)
