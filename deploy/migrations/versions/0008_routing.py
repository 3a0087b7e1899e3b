"""Lags in place of passes, the queue by submit, and text compared as bytes on PostgreSQL whatever the database's collation."""

import sqlalchemy as sa
from alembic import context, op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A column cannot change while a view reads it, so the view is made anew. Newer columns are made with the collation.
COMPARED_AS_BYTES = """
DO $$
DECLARE
  view_text TEXT := pg_get_viewdef('leads'::regclass);
  change TEXT;
  changes TEXT[] := ARRAY(
    SELECT format('ALTER TABLE %s %s', c.oid::regclass,
                  string_agg(format('ALTER COLUMN %I TYPE TEXT COLLATE "C"', a.attname), ', '))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
      AND pg_get_userbyid(c.relowner) = current_user
      AND a.atttypid = 'text'::regtype AND NOT a.attisdropped AND a.attcollation <> '"C"'::regcollation
    GROUP BY c.oid);
BEGIN
  IF cardinality(changes) = 0 THEN
    RETURN;
  END IF;
  DROP VIEW leads;
  FOREACH change IN ARRAY changes LOOP
    EXECUTE change;
  END LOOP;
  EXECUTE 'CREATE VIEW leads AS ' || view_text;
END $$
"""


PLACED = """
UPDATE router_leads SET submit_at = queue_since WHERE queue_pool IS NOT NULL AND submit_at IS NULL
"""
WAITS = sa.text("queue_pool IS NOT NULL")


def upgrade() -> None:
    op.add_column("router_pools", sa.Column("lags", sa.Text(), server_default="{}", nullable=False))
    op.add_column("router_reps", sa.Column("reason", sa.Text(), nullable=True))
    op.execute(PLACED)
    op.create_index(
        "router_leads_in_queue",
        "router_leads",
        ["queue_pool", "urgency_rank", "submit_at"],
        sqlite_where=WAITS,
        postgresql_where=WAITS,
    )
    op.drop_index("router_leads_waiting", table_name="router_leads")
    if context.get_context().dialect.name == "postgresql":
        op.execute(COMPARED_AS_BYTES)


def downgrade() -> None:  # the collation stays: the release before works with it
    op.create_index(
        "router_leads_waiting",
        "router_leads",
        ["queue_pool", "urgency_rank", "queue_since"],
        sqlite_where=WAITS,
        postgresql_where=WAITS,
    )
    op.drop_index("router_leads_in_queue", table_name="router_leads")
    op.drop_column("router_reps", "reason")
    op.drop_column("router_pools", "lags")
