"""When each version came into force, an index of what the members of a pool got, and the key that made a link."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_POOL = sa.text("pool IS NOT NULL")


def upgrade() -> None:
    """Add the table with the versions known so far, the index, and the column."""
    op.create_table(
        "configuration_periods",
        sa.Column("id", INTEGER, primary_key=True, autoincrement=True),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("began_at", INTEGER, nullable=False),
        sa.Column("loaded_by", TEXT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("configuration_periods_by_begin", "configuration_periods", ["began_at", "id"])
    op.execute(
        "INSERT INTO configuration_periods (version, began_at, loaded_by) "
        "SELECT version, taken_up_at, '' FROM configurations ORDER BY taken_up_at"
    )
    op.create_index(
        "router_assignments_by_pool",
        "router_assignments",
        ["pool", "opened_at", "rep"],
        sqlite_where=OF_POOL,
        postgresql_where=OF_POOL,
    )
    op.add_column("console_links", sa.Column("key_id", TEXT))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("console_links", "key_id")
    op.drop_index("router_assignments_by_pool", "router_assignments")
    op.drop_table("configuration_periods")
