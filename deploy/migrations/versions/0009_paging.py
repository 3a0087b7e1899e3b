"""A clock keeps its ladder, and when its last rung and its owner were told; availability by version."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ADDED = {
    "notifier_clocks": (
        ("ladder", TEXT, None),
        ("fired_at", INTEGER, None),
        ("rung_told_at", INTEGER, None),
        ("told_at", INTEGER, None),
        ("untold_at", INTEGER, None),
        ("rep_version", INTEGER, "0"),
    ),
    "notifier_pages": (("refusals", INTEGER, "0"),),
    "notifier_reps": (("version", INTEGER, "0"),),
    "router_reps": (("version", INTEGER, "0"),),
}


def upgrade() -> None:
    for table, columns in ADDED.items():
        for name, kind, default in columns:
            op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=default))


def downgrade() -> None:
    for table, columns in ADDED.items():
        for name, _, _ in reversed(columns):
            op.drop_column(table, name)
