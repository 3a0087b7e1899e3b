"""The tables of the router."""

import sqlalchemy as sa

from firsthour.runtime.storage import statements

leads = sa.Table(
    "router_leads",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("status", statements.Text, nullable=False),
    sa.Column("version", statements.Integer, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("owner", statements.Text),
    sa.Column("pool", statements.Text),
    sa.Column("queue_pool", statements.Text),
    sa.Column("queue_reason", statements.Text),
    sa.Column("queue_since", statements.Integer),
    sa.Column("urgency", statements.Text, nullable=False),
    sa.Column("urgency_rank", statements.Integer, nullable=False),
    sa.Column("submit_at", statements.Integer),
    sa.Column("touched_at", statements.Integer),
    sa.Column("scoring_version", statements.Integer, nullable=False),
    sa.Column("email", statements.Text),
    sa.Column("source", statements.Text),  # of the request that brought the lead to its owner
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("updated_at", statements.Integer, nullable=False),
    sa.Column("state", statements.Text, nullable=False),
    sa.Index("router_leads_by_status", "status", "lead_id"),
)
_OWNED = leads.c.owner.is_not(None)
_WITH_EMAIL = leads.c.email.is_not(None)
sa.Index("router_leads_by_owner", leads.c.owner, leads.c.lead_id, sqlite_where=_OWNED, postgresql_where=_OWNED)
sa.Index("router_leads_by_email", leads.c.email, sqlite_where=_WITH_EMAIL, postgresql_where=_WITH_EMAIL)
HOLDS = sa.text("status IN ('assigned', 'accepted', 'working')")
sa.Index("router_leads_by_source", leads.c.source, leads.c.owner, sqlite_where=HOLDS, postgresql_where=HOLDS)
WAITS = leads.c.queue_pool.is_not(None)
sa.Index(
    "router_leads_in_queue",
    leads.c.queue_pool,
    leads.c.urgency_rank,
    leads.c.submit_at,
    sqlite_where=WAITS,
    postgresql_where=WAITS,
)
# The audit looks at these: leads that nothing would bring forward, and leads that must have a clock.
_FORGOTTEN = sa.text(
    "owner IS NULL AND queue_pool IS NULL AND status IN ('qualified', 'assigned', 'accepted', 'working')"
)
_UNTOUCHED = sa.text("touched_at IS NULL AND status IN ('qualified', 'assigned', 'accepted')")
sa.Index("router_leads_forgotten", leads.c.lead_id, sqlite_where=_FORGOTTEN, postgresql_where=_FORGOTTEN)
sa.Index("router_leads_untouched", leads.c.lead_id, sqlite_where=_UNTOUCHED, postgresql_where=_UNTOUCHED)
assignments = sa.Table(
    "router_assignments",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("epoch", statements.Integer, primary_key=True),
    sa.Column("rep", statements.Text, nullable=False),
    sa.Column("pool", statements.Text),
    sa.Column("rule", statements.Text),
    sa.Column("decision_id", statements.Text, nullable=False),
    sa.Column("opened_at", statements.Integer, nullable=False),
    sa.Column("closed_at", statements.Integer),
    sa.Column("closed_by", statements.Text),
    sa.Column("close_reason", statements.Text),
)
_OPEN = assignments.c.closed_at.is_(None)
sa.Index("router_one_open", assignments.c.lead_id, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
sa.Index("router_open_by_rep", assignments.c.rep, sqlite_where=_OPEN, postgresql_where=_OPEN)
_OF_POOL = assignments.c.pool.is_not(None)  # what the members of a pool got in a period
sa.Index(
    "router_assignments_by_pool",
    assignments.c.pool,
    assignments.c.opened_at,
    assignments.c.rep,
    sqlite_where=_OF_POOL,
    postgresql_where=_OF_POOL,
)
decisions = sa.Table(
    "router_decisions",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column("agreement", statements.Text, nullable=False),
    sa.Column("chosen", statements.Text),
    sa.Column("body", statements.Text, nullable=False),
    sa.Index("router_decisions_by_lead", "lead_id", "epoch"),
)
turns = sa.Table(  # unused: lags have replaced it
    "router_turns",
    statements.metadata,
    sa.Column("pool", statements.Text, primary_key=True),
    sa.Column("rep", statements.Text, primary_key=True),
    sa.Column("pass", statements.Integer, nullable=False),
)
pools = sa.Table(
    "router_pools",
    statements.metadata,
    sa.Column("pool", statements.Text, primary_key=True),
    sa.Column("virtual", statements.Integer, nullable=False),  # unused: lags have replaced it
    # Its rotation, as JSON: see `RotationState`. An older release stored the lags of its members alone.
    sa.Column("lags", statements.Text, nullable=False, server_default="{}"),
)
reps = sa.Table(
    "router_reps",
    statements.metadata,
    sa.Column("rep", statements.Text, primary_key=True),
    sa.Column("open", statements.Integer, nullable=False),
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("until", statements.Integer),
    sa.Column("said", statements.Text, nullable=False),  # the state last published on `routes`
    sa.Column("updated_at", statements.Integer, nullable=False),
    # Increases with every change that is published on `routes`.
    sa.Column("version", statements.Integer, nullable=False, server_default="0"),
    sa.Column("reason", statements.Text),  # of the state
)
