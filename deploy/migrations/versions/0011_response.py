"""Response clocks in working time, the ladder without an end, and the ways out of a page."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Change the tables, one function for each subject."""
    _add_clicks()


def downgrade() -> None:
    """Undo the changes, in the opposite order."""
    _drop_clicks()


def _add_clicks() -> None:
    """Add the clicks of people on pages, and the end of a snooze."""
    op.add_column("notifier_clocks", sa.Column("snoozed_until", INTEGER))
    op.create_table(
        "notifier_clicks",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("until", INTEGER),
        sa.Column("refused", TEXT),
        sa.Column("day", INTEGER, nullable=False),
    )
    op.create_index("notifier_clicks_by_day", "notifier_clicks", ["day"])


def _drop_clicks() -> None:
    op.drop_table("notifier_clicks")
    op.drop_column("notifier_clocks", "snoozed_until")
