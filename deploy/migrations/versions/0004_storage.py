"""Bounds of storage: dead letters by age and by bytes of a source, `seen` by the day, found by indexes."""

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ADDED = ("key", "budget", "rank", "bytes")


def _on_postgresql() -> bool:
    return context.get_context().dialect.name == "postgresql"


def upgrade() -> None:
    op.create_table(
        "dead_letter_totals",
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("bytes", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("budget"),
    )
    op.add_column("dead_letters", sa.Column("key", sa.Text(), nullable=False, server_default=""))
    op.add_column("dead_letters", sa.Column("budget", sa.Text(), nullable=False, server_default=""))
    op.add_column("dead_letters", sa.Column("rank", _NUMBER, nullable=False, server_default="1"))
    op.add_column("dead_letters", sa.Column("bytes", _NUMBER, nullable=False, server_default="0"))
    op.create_index("dead_letters_by_age", "dead_letters", ["at"])
    op.create_index("dead_letters_by_budget", "dead_letters", ["budget", "rank", "at"])
    if _on_postgresql():  # a BRIN index tells nothing any more once new rows lie where those of a day gone by lay
        op.drop_index("seen_by_day", table_name="seen")
    op.create_index("seen_by_day", "seen", ["day"])


def downgrade() -> None:
    op.drop_index("seen_by_day", table_name="seen")
    if _on_postgresql():
        op.execute("CREATE INDEX seen_by_day ON seen USING brin (day)")
    op.drop_index("dead_letters_by_budget", table_name="dead_letters")
    op.drop_index("dead_letters_by_age", table_name="dead_letters")
    for name in _ADDED:
        op.drop_column("dead_letters", name)
    op.drop_table("dead_letter_totals")
