"""The passes of leads through the funnel, and the tallies of days."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPTIONAL = ("source", "campaign", "form", "persona", "grade", "rep", "team", "status")


def upgrade() -> None:
    """Add the tables. The passes are counted from the history once the new release runs."""
    op.create_table(
        "reporting_funnel",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("cycle", INTEGER, nullable=False, autoincrement=False),
        sa.Column("start_at", INTEGER, nullable=False),
        *(sa.Column(name, TEXT) for name in OPTIONAL),
        sa.Column("status_at", INTEGER, nullable=False),
        sa.Column("ended", TEXT),
        sa.Column("steps", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("lead_id", "cycle"),
        sqlite_with_rowid=False,
    )
    op.create_index("reporting_funnel_by_start", "reporting_funnel", ["start_at", "lead_id", "cycle"])
    op.create_table(
        "reporting_funnel_days",
        sa.Column("day", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("layout", TEXT, nullable=False),
        sa.Column("made", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reporting_funnel_marks",
        sa.Column("day", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("slot", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("change", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("reporting_funnel_marks", "reporting_funnel_days", "reporting_funnel"):
        op.drop_table(name)
