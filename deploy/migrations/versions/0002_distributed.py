"""What the distributed profile asks of the tables."""

from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OFTEN = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0"
SOON = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02"
STORAGE = {
    # A queue: as many rows go as come, so its dead rows and index entries outnumber the living within seconds.
    "log": OFTEN,
    # Few rows, each changed by every unit: room on their page for the next versions, which then need no index entry.
    "cursors": f"fillfactor = 50, {OFTEN}",
    "router_pools": f"fillfactor = 50, {OFTEN}",
    "router_reps": f"fillfactor = 50, {OFTEN}",
    "router_turns": f"fillfactor = 50, {OFTEN}",
    # A row per person or page, changed a few times in its life: not a fifth of the table must change before it is swept.
    "notifier_clocks": f"fillfactor = 80, {SOON}",
    "notifier_pages": f"fillfactor = 80, {SOON}",
    "router_leads": f"fillfactor = 80, {SOON}",
    "scoring_profiles": f"fillfactor = 80, {SOON}",
    "seen": SOON,
}


def upgrade() -> None:
    if context.get_context().dialect.name == "postgresql":
        for table, settings in STORAGE.items():
            op.execute(f"ALTER TABLE {table} SET ({settings})")
        # One index, which is cheaper for as many rows as come and go there, and leaves the planner none to choose wrongly.
        op.execute("ALTER TABLE log DROP CONSTRAINT log_pkey")
        op.execute("DROP INDEX log_by_place")
        op.execute("ALTER TABLE log ADD CONSTRAINT log_by_place PRIMARY KEY (topic, partition, id)")
        # Rows come in the order of their days and go by the day: a few bytes tell where a day lies.
        op.execute("CREATE INDEX seen_by_day ON seen USING brin (day)")


def downgrade() -> None:
    if context.get_context().dialect.name == "postgresql":
        op.execute("DROP INDEX seen_by_day")
        op.execute("ALTER TABLE log DROP CONSTRAINT log_by_place")
        op.execute("ALTER TABLE log ADD CONSTRAINT log_pkey PRIMARY KEY (id)")
        op.execute("CREATE INDEX log_by_place ON log (topic, partition, id)")
        for table, settings in STORAGE.items():
            names = ", ".join(setting.split(" = ")[0] for setting in settings.split(", "))
            op.execute(f"ALTER TABLE {table} RESET ({names})")
