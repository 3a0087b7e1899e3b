"""Every table of the first piece, and the view in which the services' tables meet."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite: only INTEGER is the row id
LEADS = """
CREATE VIEW leads AS
SELECT r.lead_id AS id, r.email, r.status, r.epoch, r.owner, r.queue_pool, r.queue_reason, r.queue_since,
       r.created_at, r.updated_at, r.state, c.promise_at, c.state AS clock_state, c.next_rung
FROM router_leads r LEFT JOIN notifier_clocks c ON c.lead_id = r.lead_id
"""


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("rep", TEXT),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("expires_at", INTEGER),
        sa.Column("revoked_at", INTEGER),
        sa.Column("used_at", INTEGER),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "configurations",
        sa.Column("version", TEXT, nullable=False),
        sa.Column("taken_up_at", INTEGER, nullable=False),
        sa.Column("agreement", TEXT, nullable=False),
        sa.Column("team", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "cursors",
        sa.Column("consumer", TEXT, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("partition", INTEGER, nullable=False),
        sa.Column("position", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "topic", "partition"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("consumer", TEXT, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("content_type", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("error", TEXT, nullable=False),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("changed_at", INTEGER, nullable=False),
        sa.Column("tries", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("dead_letters_by_state", "dead_letters", ["state", "at"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("status", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("scope", "key"),
    )
    op.create_index("idempotency_by_age", "idempotency", ["at"], unique=False)
    op.create_table(
        "log",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("partition", INTEGER, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("log_by_place", "log", ["topic", "partition", "id"], unique=False)
    op.create_table(
        "meta",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "notifier_attempts",
        sa.Column("page_id", TEXT, nullable=False),
        sa.Column("n", INTEGER, nullable=False),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("detail", TEXT),
        sa.PrimaryKeyConstraint("page_id", "n"),
    )
    op.create_table(
        "notifier_clocks",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("rep", TEXT),
        sa.Column("urgency", TEXT, nullable=False),
        sa.Column("submit_at", INTEGER, nullable=False),
        sa.Column("promise_at", INTEGER, nullable=False),
        sa.Column("assigned_at", INTEGER),
        sa.Column("next_rung", INTEGER, nullable=False),
        sa.Column("due_at", INTEGER),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("touched_at", INTEGER),
        sa.Column("opted_out", INTEGER, nullable=False),
        sa.Column("accepted", INTEGER, nullable=False),
        sa.Column("missed_at", INTEGER),
        sa.Column("card", TEXT, nullable=False),
        sa.Column("reassignments", INTEGER, nullable=False),
        sa.Column("updated_at", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("lead_id"),
    )
    op.create_index("notifier_clocks_by_due", "notifier_clocks", ["due_at"], unique=False)
    op.create_table(
        "notifier_pages",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("rung", INTEGER, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("channels", TEXT, nullable=False),
        sa.Column("channel_index", INTEGER, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("due_at", INTEGER, nullable=False),
        sa.Column("next_at", INTEGER),
        sa.Column("first_try_at", INTEGER),
        sa.Column("lease_until", INTEGER),
        sa.Column("tries", INTEGER, nullable=False),
        sa.Column("deliveries", INTEGER, nullable=False),
        sa.Column("provider_id", TEXT),
        sa.Column("error", TEXT),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("sent_at", INTEGER),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("lead_id", "epoch", "rung", "person", name="notifier_pages_once"),
    )
    op.create_index("notifier_pages_by_next", "notifier_pages", ["next_at"], unique=False)
    op.create_index("notifier_pages_by_time", "notifier_pages", ["created_at", "id"], unique=False)
    op.create_table(
        "notifier_reps",
        sa.Column("rep", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("until", INTEGER),
        sa.Column("at", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("rep"),
    )
    op.create_table(
        "reporting_history",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("lead_id", TEXT),
        sa.Column("cause", TEXT),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("heard_at", INTEGER, nullable=False),
        sa.Column("position", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("reporting_history_by_lead", "reporting_history", ["lead_id", "at"], unique=False)
    op.create_index("reporting_history_by_age", "reporting_history", ["heard_at"], unique=False)
    op.create_table(
        "reporting_statuses",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("lead_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "router_assignments",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("rep", TEXT, nullable=False),
        sa.Column("pool", TEXT),
        sa.Column("rule", TEXT),
        sa.Column("decision_id", TEXT, nullable=False),
        sa.Column("opened_at", INTEGER, nullable=False),
        sa.Column("closed_at", INTEGER),
        sa.Column("closed_by", TEXT),
        sa.Column("close_reason", TEXT),
        sa.PrimaryKeyConstraint("lead_id", "epoch"),
    )
    op.create_index(
        "router_one_open",
        "router_assignments",
        ["lead_id"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "router_open_by_rep",
        "router_assignments",
        ["rep"],
        unique=False,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "router_decisions",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("agreement", TEXT, nullable=False),
        sa.Column("chosen", TEXT),
        sa.Column("body", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("router_decisions_by_lead", "router_decisions", ["lead_id", "epoch"], unique=False)
    op.create_table(
        "router_leads",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("owner", TEXT),
        sa.Column("pool", TEXT),
        sa.Column("queue_pool", TEXT),
        sa.Column("queue_reason", TEXT),
        sa.Column("queue_since", INTEGER),
        sa.Column("urgency", TEXT, nullable=False),
        sa.Column("urgency_rank", INTEGER, nullable=False),
        sa.Column("submit_at", INTEGER),
        sa.Column("touched_at", INTEGER),
        sa.Column("scoring_version", INTEGER, nullable=False),
        sa.Column("email", TEXT),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("updated_at", INTEGER, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("lead_id"),
    )
    op.create_index(
        "router_leads_by_email",
        "router_leads",
        ["email"],
        unique=False,
        sqlite_where=sa.text("email IS NOT NULL"),
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.create_index(
        "router_leads_by_owner",
        "router_leads",
        ["owner", "lead_id"],
        unique=False,
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index("router_leads_by_status", "router_leads", ["status", "lead_id"], unique=False)
    op.create_index(
        "router_leads_waiting",
        "router_leads",
        ["queue_pool", "urgency_rank", "queue_since"],
        unique=False,
        sqlite_where=sa.text("queue_pool IS NOT NULL"),
        postgresql_where=sa.text("queue_pool IS NOT NULL"),
    )
    op.create_table(
        "router_pools",
        sa.Column("pool", TEXT, nullable=False),
        sa.Column("virtual", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("pool"),
    )
    op.create_table(
        "router_reps",
        sa.Column("rep", TEXT, nullable=False),
        sa.Column("open", INTEGER, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("until", INTEGER),
        sa.Column("said", TEXT, nullable=False),
        sa.Column("updated_at", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("rep"),
    )
    op.create_table(
        "router_turns",
        sa.Column("pool", TEXT, nullable=False),
        sa.Column("rep", TEXT, nullable=False),
        sa.Column("pass", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("pool", "rep"),
    )
    op.create_table(
        "scoring_identities",
        sa.Column("identity", TEXT, nullable=False),
        sa.Column("lead_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("identity"),
    )
    op.create_index("scoring_identities_by_lead", "scoring_identities", ["lead_id"], unique=False)
    op.create_table(
        "scoring_profiles",
        sa.Column("lead_id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("email", TEXT),
        sa.Column("phone", TEXT),
        sa.Column("updated_at", INTEGER, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("lead_id"),
    )
    op.create_table(
        "seen",
        sa.Column("consumer", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("day", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "event_id"),
        sqlite_with_rowid=False,
    )
    op.execute(LEADS)


def downgrade() -> None:
    op.execute("DROP VIEW leads")
    op.drop_table("seen")
    op.drop_table("scoring_profiles")
    op.drop_index("scoring_identities_by_lead", table_name="scoring_identities")
    op.drop_table("scoring_identities")
    op.drop_table("router_turns")
    op.drop_table("router_reps")
    op.drop_table("router_pools")
    op.drop_index(
        "router_leads_waiting",
        table_name="router_leads",
        sqlite_where=sa.text("queue_pool IS NOT NULL"),
        postgresql_where=sa.text("queue_pool IS NOT NULL"),
    )
    op.drop_index("router_leads_by_status", table_name="router_leads")
    op.drop_index(
        "router_leads_by_owner",
        table_name="router_leads",
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.drop_index(
        "router_leads_by_email",
        table_name="router_leads",
        sqlite_where=sa.text("email IS NOT NULL"),
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.drop_table("router_leads")
    op.drop_index("router_decisions_by_lead", table_name="router_decisions")
    op.drop_table("router_decisions")
    op.drop_index(
        "router_open_by_rep",
        table_name="router_assignments",
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.drop_index(
        "router_one_open",
        table_name="router_assignments",
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.drop_table("router_assignments")
    op.drop_table("reporting_statuses")
    op.drop_index("reporting_history_by_age", table_name="reporting_history")
    op.drop_index("reporting_history_by_lead", table_name="reporting_history")
    op.drop_table("reporting_history")
    op.drop_table("notifier_reps")
    op.drop_index("notifier_pages_by_time", table_name="notifier_pages")
    op.drop_index("notifier_pages_by_next", table_name="notifier_pages")
    op.drop_table("notifier_pages")
    op.drop_index("notifier_clocks_by_due", table_name="notifier_clocks")
    op.drop_table("notifier_clocks")
    op.drop_table("notifier_attempts")
    op.drop_table("meta")
    op.drop_index("log_by_place", table_name="log")
    op.drop_table("log")
    op.drop_index("idempotency_by_age", table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_index("dead_letters_by_state", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("cursors")
    op.drop_table("configurations")
    op.drop_table("api_keys")
