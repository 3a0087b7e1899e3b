"""Facts by event time: identifiers of several people, which leads Sales has, when a person was last active."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "scoring_shared",
        sa.Column("identity", TEXT, nullable=False),
        sa.Column("lead_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("identity", "lead_id"),
    )
    op.create_table(
        "scoring_standings",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("open", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("lead_id"),
    )
    op.add_column("scoring_profiles", sa.Column("active_at", INTEGER, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("scoring_profiles", "active_at")
    op.drop_table("scoring_standings")
    op.drop_table("scoring_shared")
