"""Drop the end of a page's lease: `next_at` of a page that is being sent holds it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("notifier_pages", "lease_until")


def downgrade() -> None:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("notifier_pages", sa.Column("lease_until", kind))
