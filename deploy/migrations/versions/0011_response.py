"""Response clocks in working time, the ladder without an end, and the ways out of a page."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TEXT = sa.Text()
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
IN_HOURS = "counted_in <> 'always' AND state IN ('live', 'missed')"
ABSENCES = """
    UPDATE notifier_reps
    SET absences = '[[' || CAST(at AS TEXT) || ',' || CAST(coalesce(until, 253402300799999999) AS TEXT) || ']]'
    WHERE state <> 'available'
"""
"""An absence without an end lasts until 9999-12-31T23:59:59.999999Z."""
LEADS = """
CREATE VIEW leads AS
SELECT r.lead_id AS id, r.email, r.status, r.epoch, r.owner, r.queue_pool, r.queue_reason, r.queue_since,
       r.created_at, r.updated_at, r.state, c.promise_at, c.state AS clock_state, c.next_rung{more}
FROM router_leads r LEFT JOIN notifier_clocks c ON c.lead_id = r.lead_id
"""
_DELIVERY = (("rank", INTEGER, "1"), ("destination", TEXT, ""), ("delay", TEXT, ""))


def upgrade() -> None:
    """Change the tables, one function for each subject."""
    _add_clicks()
    _add_slack_messages()
    _count_in_hours()
    _delivery()
    _add_audit()
    _add_requests()
    _add_attempts()
    _add_rungs()
    _add_link_keys()
    _add_dispatches()
    _add_sources()
    _show(", c.pauses, c.snoozed_until")


def downgrade() -> None:
    """Undo the changes, in the opposite order."""
    _show()
    op.drop_index("router_leads_by_source", "router_leads")
    op.drop_column("router_leads", "source")
    for name in ("router_bursts", "gateway_fetches", "gateway_quarantine", "gateway_sources", "reporting_fields"):
        op.drop_table(name)
    for name in ("notifier_alerts", "notifier_endpoints", "notifier_dispatch_attempts", "notifier_dispatches"):
        op.drop_table(name)
    _drop_rungs_and_attempts()
    _drop_requests()
    _count_every_minute()
    _drop_audit()
    _undo_delivery()
    op.drop_table("notifier_slack_messages")
    _drop_clicks()
    op.drop_table("notifier_link_keys")


def _filled(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns that are never NULL."""
    return [sa.Column(name, kind, nullable=False) for name in names]


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    """Create an index of the rows that meet a condition."""
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _show(more: str = "") -> None:
    """Make the view of leads anew. `more`: further columns of clocks."""
    op.execute("DROP VIEW leads")
    op.execute(LEADS.format(more=more))


def _add_clicks() -> None:
    """Add the clicks of people on pages, and the end of a snooze."""
    op.add_column("notifier_clocks", sa.Column("snoozed_until", INTEGER))
    op.create_table(
        "notifier_clicks",
        sa.Column("id", TEXT, primary_key=True),
        *_filled(TEXT, "lead_id"),
        *_filled(INTEGER, "epoch"),
        *_filled(TEXT, "person", "action", "source"),
        sa.Column("at", INTEGER, nullable=False),
        sa.Column("until", INTEGER),
        sa.Column("refused", TEXT),
        sa.Column("day", INTEGER, nullable=False),
    )
    op.create_index("notifier_clicks_by_day", "notifier_clicks", ["day"])
    op.create_index("notifier_clocks_by_rep", "notifier_clocks", ["rep", "state"])


def _add_slack_messages() -> None:
    """Add the messages in Slack, which are shown anew when the standing of their lead changes."""
    op.create_table(
        "notifier_slack_messages",
        sa.Column("page_id", TEXT, primary_key=True),
        *_filled(TEXT, "lead_id", "person", "recipient", "channel", "ts"),
        *_filled(INTEGER, "asked"),
        *_filled(TEXT, "shown"),
        sa.Column("notice", TEXT),
        sa.Column("also", TEXT, nullable=False),
        sa.Column("next_at", INTEGER),
        sa.Column("tries", INTEGER, nullable=False),
        sa.Column("error", TEXT),
        sa.Column("day", INTEGER, nullable=False),
    )
    for column in ("next_at", "lead_id", "day"):
        name = column.removesuffix("_at").removesuffix("_id")
        op.create_index(f"notifier_slack_messages_by_{name}", "notifier_slack_messages", [column])


def _drop_clicks() -> None:
    op.drop_index("notifier_clocks_by_rep", "notifier_clocks")
    op.drop_table("notifier_clicks")
    op.drop_column("notifier_clocks", "snoozed_until")


def _count_in_hours() -> None:
    """Let clocks count in hours of work. Those of before go on in every minute."""
    for column in (
        sa.Column("counted_in", TEXT, nullable=False, server_default="always"),
        sa.Column("touch_within", INTEGER, nullable=False, server_default="0"),
        sa.Column("worked", INTEGER, nullable=False, server_default="0"),
        sa.Column("counted_from", INTEGER),
        sa.Column("pool", TEXT),
        sa.Column("pauses", TEXT, nullable=False, server_default="[]"),
        sa.Column("hours_revision", INTEGER, nullable=False, server_default="0"),
    ):
        op.add_column("notifier_clocks", column)
    op.execute("UPDATE notifier_clocks SET touch_within = promise_at - submit_at")
    _index("notifier_clocks_by_hours", "notifier_clocks", ["hours_revision"], IN_HOURS)
    op.add_column("notifier_reps", sa.Column("absences", TEXT, nullable=False, server_default="[]"))
    op.execute(ABSENCES)
    _index("notifier_reps_absent", "notifier_reps", ["rep"], "absences <> '[]'")
    op.create_table(
        "notifier_hours",
        sa.Column("id", INTEGER, primary_key=True, autoincrement=False),
        *_filled(INTEGER, "revision"),
        *_filled(TEXT, "configuration"),
        *_filled(INTEGER, "changed_at"),
    )


def _count_every_minute() -> None:
    op.drop_table("notifier_hours")
    op.drop_index("notifier_reps_absent", "notifier_reps")
    op.drop_column("notifier_reps", "absences")
    op.drop_index("notifier_clocks_by_hours", "notifier_clocks")
    for name in ("hours_revision", "pauses", "pool", "counted_from", "worked", "touch_within", "counted_in"):
        op.drop_column("notifier_clocks", name)


def _delivery() -> None:
    """Give pages a rank, their destination and the reason of their delay."""
    for name, kind, default in _DELIVERY:
        op.add_column("notifier_pages", sa.Column(name, kind, nullable=False, server_default=default))
    _index("notifier_pages_waiting", "notifier_pages", ["rank", "next_at"], "next_at IS NOT NULL")
    op.drop_index("notifier_pages_by_next", table_name="notifier_pages")
    op.add_column("notifier_pages", sa.Column("claimed_at", INTEGER))
    op.add_column("notifier_pages", sa.Column("carrier", TEXT))
    op.execute("UPDATE notifier_pages SET claimed_at = sent_at WHERE state = 'sent'")
    _index("notifier_pages_to", "notifier_pages", ["person"], "next_at IS NOT NULL")
    messages = "claimed_at IS NOT NULL AND carrier IS NULL"
    _index("notifier_messages", "notifier_pages", ["person", "claimed_at"], messages)


def _add_audit() -> None:
    """Add the findings of the audit, and the indexes of its checks."""
    op.create_table(
        "notifier_findings",
        sa.Column("check_name", TEXT, primary_key=True),
        *_filled(INTEGER, "since", "seen_at", "number"),
        sa.Column("text", TEXT, nullable=False),
    )
    op.create_table(
        "reporting_sources",
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("hour", INTEGER, primary_key=True),
        sa.Column("events", INTEGER, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("reporting_sources_by_hour", "reporting_sources", ["hour"])
    for name, condition in (
        (
            "router_leads_forgotten",
            "owner IS NULL AND queue_pool IS NULL AND status IN ('qualified', 'assigned', 'accepted', 'working')",
        ),
        ("router_leads_untouched", "touched_at IS NULL AND status IN ('qualified', 'assigned', 'accepted')"),
    ):
        _index(name, "router_leads", ["lead_id"], condition)


def _drop_audit() -> None:
    op.drop_index("router_leads_untouched", "router_leads")
    op.drop_index("router_leads_forgotten", "router_leads")
    op.drop_table("reporting_sources")
    op.drop_table("notifier_findings")


def _undo_delivery() -> None:
    op.drop_index("notifier_messages", table_name="notifier_pages")
    op.drop_index("notifier_pages_to", table_name="notifier_pages")
    op.drop_column("notifier_pages", "carrier")
    op.drop_column("notifier_pages", "claimed_at")
    op.create_index("notifier_pages_by_next", "notifier_pages", ["next_at"])
    op.drop_index("notifier_pages_waiting", table_name="notifier_pages")
    for name, _, _ in reversed(_DELIVERY):
        op.drop_column("notifier_pages", name)


def _add_requests() -> None:
    """Add the requests of leads with the response to each, for the report on the first hour."""
    op.create_table(
        "reporting_responses",
        sa.Column("submit_at", INTEGER, nullable=False, autoincrement=False),
        *_filled(TEXT, "lead_id", "urgency"),
        sa.Column("source", TEXT),
        sa.Column("rep", TEXT),
        *_filled(INTEGER, "attempts", "conversations"),
        *(sa.Column(n, INTEGER) for n in ("touched_at", "working_us", "hour_at", "left_at", "held_at", "released_at")),
        sa.PrimaryKeyConstraint("submit_at", "lead_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("reporting_responses_by_lead", "reporting_responses", ["lead_id"])
    op.create_table(
        "reporting_aliases",
        *_filled(TEXT, "merged_id", "lead_id"),
        sa.PrimaryKeyConstraint("merged_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("reporting_aliases_by_lead", "reporting_aliases", ["lead_id"])
    op.create_table(
        "reporting_models",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("done_to", TEXT),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )


def _drop_requests() -> None:
    for table in ("reporting_models", "reporting_aliases", "reporting_responses"):
        op.drop_table(table)


def _add_rungs() -> None:
    """Note whether the last rung of a clock had a recipient, and what follows the ladder."""
    for name in ("rung_empty", "request"):
        op.add_column("notifier_clocks", sa.Column(name, INTEGER, nullable=False, server_default="0"))
    for name, kind in (("follow_up", TEXT), ("waiting_at", INTEGER), ("previous", TEXT)):
        op.add_column("notifier_clocks", sa.Column(name, kind))


def _drop_rungs_and_attempts() -> None:
    attempts = ("reminders", "remind_at", "talked_at", "attempted_at", "attempts")
    for name in (*attempts, "request", "previous", "waiting_at", "follow_up", "rung_empty"):
        op.drop_column("notifier_clocks", name)


def _add_link_keys() -> None:
    """Add the keys that sign the links of pages."""
    op.create_table(
        "notifier_link_keys",
        sa.Column("id", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INTEGER, nullable=False),
    )


def _add_dispatches() -> None:
    """Add the webhooks and notices that are sent, the attempts to send them, and the endpoints that are switched off."""
    op.create_table(
        "notifier_dispatches",
        sa.Column("id", TEXT, primary_key=True),
        *_filled(TEXT, "kind", "channel", "channels", "type", "lead_id", "body", "state"),
        sa.Column("next_at", INTEGER),
        *_filled(INTEGER, "tries", "failures"),
        sa.Column("error", TEXT),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("ended_at", INTEGER),
    )
    op.create_index("notifier_dispatches_by_next", "notifier_dispatches", ["next_at", "channel"])
    op.create_index("notifier_dispatches_by_channel", "notifier_dispatches", ["channel", "next_at"])
    op.create_index("notifier_dispatches_by_time", "notifier_dispatches", ["channel", "created_at", "id"])
    op.create_index("notifier_dispatches_by_age", "notifier_dispatches", ["created_at"])
    of_channel, by_age = ["channel", "created_at", "id"], ["created_at", "id"]
    _index("notifier_dispatches_failed", "notifier_dispatches", of_channel, "state = 'failed'")
    _index("notifier_dispatches_notices", "notifier_dispatches", by_age, "kind = 'notice'")
    op.create_table(
        "notifier_dispatch_attempts",
        sa.Column("dispatch_id", TEXT, primary_key=True),
        sa.Column("n", INTEGER, primary_key=True),
        sa.Column("channel", TEXT, nullable=False),
        *_filled(INTEGER, "at", "milliseconds"),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("detail", TEXT),
    )
    op.create_table(
        "notifier_endpoints",
        sa.Column("channel", TEXT, primary_key=True),
        sa.Column("disabled_at", INTEGER, nullable=False),
        sa.Column("why", TEXT, nullable=False),
    )
    op.create_table(
        "notifier_alerts",
        sa.Column("channel", TEXT, primary_key=True),
        sa.Column("lead_id", TEXT, primary_key=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at", INTEGER, nullable=False),
    )
    op.create_index("notifier_alerts_by_lead", "notifier_alerts", ["lead_id"])
    op.create_index("notifier_alerts_by_time", "notifier_alerts", ["at"])


def _add_sources() -> None:
    """Add counts of sources, unknown fields, events beyond quotas, bursts and thin events."""
    op.create_table(
        "reporting_fields",
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        *_filled(INTEGER, "events", "first_at", "last_at"),
        sqlite_with_rowid=False,
    )
    op.create_index("reporting_fields_by_age", "reporting_fields", ["last_at"])
    op.create_table(
        "gateway_sources",
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("hour", INTEGER, primary_key=True),
        sa.Column("outcome", TEXT, primary_key=True),
        *_filled(INTEGER, "number", "last_at"),
        sa.Column("lag", INTEGER),
        sqlite_with_rowid=False,
    )
    op.create_index("gateway_sources_by_hour", "gateway_sources", ["hour"])
    op.create_table(
        "gateway_quarantine",
        sa.Column("event_id", TEXT, primary_key=True),
        *_filled(TEXT, "source", "type", "key"),
        *_filled(INTEGER, "at"),
        *_filled(sa.LargeBinary(), "body"),
    )
    op.create_index("gateway_quarantine_by_source", "gateway_quarantine", ["source", "at", "event_id"])
    op.create_index("gateway_quarantine_by_age", "gateway_quarantine", ["at"])
    op.create_table(
        "router_bursts",
        sa.Column("id", TEXT, primary_key=True),
        *_filled(TEXT, "label", "source"),
        *_filled(INTEGER, "since", "last_at", "leads", "served"),
        *(sa.Column(name, INTEGER) for name in ("released_at", "dropped_at")),
        *(sa.Column(name, TEXT) for name in ("released_by", "dropped_by", "drop_reason")),
    )
    op.add_column("router_leads", sa.Column("source", TEXT))
    held = "status IN ('assigned', 'accepted', 'working')"
    _index("router_leads_by_source", "router_leads", ["source", "owner"], held)
    op.create_index("router_bursts_by_age", "router_bursts", ["last_at"])
    op.create_table(
        "gateway_fetches",
        sa.Column("id", TEXT, primary_key=True),
        *_filled(TEXT, "source", "event_id"),
        *_filled(sa.LargeBinary(), "event"),
        *_filled(INTEGER, "received_at", "added_at", "next_at", "tries"),
        sa.Column("error", TEXT),
    )
    op.create_index("gateway_fetches_by_source", "gateway_fetches", ["source", "next_at"])
    op.create_index("gateway_fetches_by_next", "gateway_fetches", ["next_at"])


def _add_attempts() -> None:
    """Count touches without an answer on the clock, and remind of the next attempt."""
    for name in ("attempted_at", "talked_at", "remind_at"):
        op.add_column("notifier_clocks", sa.Column(name, INTEGER))
    for name in ("attempts", "reminders"):
        op.add_column("notifier_clocks", sa.Column(name, INTEGER, nullable=False, server_default="0"))
