"""The tables of the notifier."""

from typing import Final

import sqlalchemy as sa

from firsthour.runtime.storage import statements

IN_HOURS: Final = "counted_in <> 'always' AND state IN ('live', 'missed')"
"""The running clocks whose times depend on calendars and leave."""
ABSENT: Final = "absences <> '[]'"
"""The reps who stated an absence over the API."""

clocks = sa.Table(
    "notifier_clocks",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("version", statements.Integer, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("rep", statements.Text),
    sa.Column("urgency", statements.Text, nullable=False),
    sa.Column("submit_at", statements.Integer, nullable=False),
    sa.Column("promise_at", statements.Integer, nullable=False),
    sa.Column("assigned_at", statements.Integer),
    sa.Column("next_rung", statements.Integer, nullable=False),
    sa.Column("due_at", statements.Integer),  # the next rung or the end of the promise, whichever comes first
    # live, missed (the promise has ended, the ladder goes on), met, over
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("touched_at", statements.Integer),
    sa.Column("opted_out", statements.Integer, nullable=False),
    sa.Column("accepted", statements.Integer, nullable=False),
    sa.Column("missed_at", statements.Integer),
    sa.Column("card", statements.Text, nullable=False),
    sa.Column("reassignments", statements.Integer, nullable=False),
    sa.Column("updated_at", statements.Integer, nullable=False),
    sa.Column("ladder", statements.Text),  # the rungs in force at its start, as JSON; NULL: written by an older release
    sa.Column("fired_at", statements.Integer),  # when the rung before `next_rung` was reached
    # When the page of that rung was accepted or ended otherwise; NULL: it is still being sent.
    sa.Column("rung_told_at", statements.Integer),
    sa.Column("told_at", statements.Integer),  # when a page first told the owner of this assignment
    sa.Column("untold_at", statements.Integer),  # when a page to the owner first ended without telling them
    sa.Column("rep_version", statements.Integer, nullable=False, server_default="0"),
    sa.Column("snoozed_until", statements.Integer),
    sa.Column("counted_in", statements.Text, nullable=False, server_default="always"),
    sa.Column("touch_within", statements.Integer, nullable=False, server_default="0"),  # microseconds
    sa.Column("worked", statements.Integer, nullable=False, server_default="0"),  # counted before `counted_from`
    sa.Column("counted_from", statements.Integer),  # NULL: the submit
    sa.Column("pool", statements.Text),
    sa.Column("pauses", statements.Text, nullable=False, server_default="[]"),  # JSON: [kind, start, end] of each
    sa.Column(
        "attempts", statements.Integer, nullable=False, server_default="0"
    ),  # without an answer, since the submit
    sa.Column("attempted_at", statements.Integer),
    sa.Column("talked_at", statements.Integer),
    sa.Column("remind_at", statements.Integer),  # of the next attempt
    sa.Column("reminders", statements.Integer, nullable=False, server_default="0"),
    sa.Column("hours_revision", statements.Integer, nullable=False, server_default="0"),
    sa.Column("follow_up", statements.Text),  # JSON: the pages after the ladder; NULL: written by an older release
    sa.Column("previous", statements.Text),  # JSON: the assignment before; NULL: there was none since the submit
    sa.Column("waiting_at", statements.Integer),  # from when the lead waits for an owner
    sa.Column("request", statements.Integer, nullable=False, server_default="0"),  # of the person in this assignment
    sa.Column("rung_empty", statements.Integer, nullable=False, server_default="0"),  # that rung had no recipient
    sa.Index("notifier_clocks_by_due", "due_at"),
    sa.Index(
        "notifier_clocks_by_hours",
        "hours_revision",
        sqlite_where=sa.text(IN_HOURS),
        postgresql_where=sa.text(IN_HOURS),
    ),
    sa.Index("notifier_clocks_by_rep", "rep", "state"),
)
RUNNING = sa.text("state IN ('live', 'missed')")
sa.Index(
    "notifier_clocks_running",
    clocks.c.promise_at,
    clocks.c.lead_id,
    sqlite_where=RUNNING,
    postgresql_where=RUNNING,
)
pages = sa.Table(
    "notifier_pages",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("rung", statements.Integer, nullable=False),
    sa.Column("kind", statements.Text, nullable=False),  # see `page.Kind`
    sa.Column("person", statements.Text, nullable=False),  # rep id or Slack channel; empty: there is no recipient
    sa.Column("channels", statements.Text, nullable=False),
    sa.Column("channel_index", statements.Integer, nullable=False),
    # pending, sending, sent, cancelled; failed: written by an older release
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("due_at", statements.Integer, nullable=False),  # business time: lateness counts from it
    # Real time: when the page is looked at again, or the end of the lease; NULL: the page has ended.
    sa.Column("next_at", statements.Integer),
    sa.Column("first_try_at", statements.Integer),  # real time, of the current channel
    sa.Column("tries", statements.Integer, nullable=False),
    sa.Column("deliveries", statements.Integer, nullable=False),
    sa.Column("provider_id", statements.Text),
    sa.Column("error", statements.Text),
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("sent_at", statements.Integer),
    sa.Column("refusals", statements.Integer, nullable=False, server_default="0"),
    sa.Column("rank", statements.Integer, nullable=False, server_default="1"),  # 0: claimed before the rest
    sa.Column("destination", statements.Text, nullable=False, server_default=""),  # the current one of `channels`
    sa.Column("delay", statements.Text, nullable=False, server_default=""),  # what a pending page waits for
    sa.Column("claimed_at", statements.Integer),  # business time of the last claim; NULL: neither sent nor being sent
    sa.Column("carrier", statements.Text),  # the page in whose message this one is sent; NULL: it has its own
    sa.UniqueConstraint("lead_id", "epoch", "rung", "person", name="notifier_pages_once"),
    sa.Index("notifier_pages_by_time", "created_at", "id"),
)
_WAITS = pages.c.next_at.is_not(None)
sa.Index("notifier_pages_waiting", pages.c.rank, pages.c.next_at, sqlite_where=_WAITS, postgresql_where=_WAITS)
sa.Index("notifier_pages_to", pages.c.person, sqlite_where=_WAITS, postgresql_where=_WAITS)
MESSAGES = sa.and_(pages.c.claimed_at.is_not(None), pages.c.carrier.is_(None))
sa.Index("notifier_messages", pages.c.person, pages.c.claimed_at, sqlite_where=MESSAGES, postgresql_where=MESSAGES)
attempts = sa.Table(
    "notifier_attempts",
    statements.metadata,
    sa.Column("page_id", statements.Text, primary_key=True),
    sa.Column("n", statements.Integer, primary_key=True),
    sa.Column("channel", statements.Text, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),  # real time
    # sent, try_again, gave_up, unusable, unknown (the sender crashed)
    sa.Column("outcome", statements.Text, nullable=False),
    sa.Column("detail", statements.Text),
)
reps = sa.Table(
    "notifier_reps",
    statements.metadata,
    sa.Column("rep", statements.Text, primary_key=True),
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("until", statements.Integer),
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column("version", statements.Integer, nullable=False, server_default="0"),
    sa.Column("absences", statements.Text, nullable=False, server_default="[]"),  # JSON: [start, end] of each
    sa.Index("notifier_reps_absent", "rep", sqlite_where=sa.text(ABSENT), postgresql_where=sa.text(ABSENT)),
)
hours = sa.Table(
    "notifier_hours",
    statements.metadata,
    sa.Column("id", statements.Integer, primary_key=True, autoincrement=False),  # 1: the only row
    sa.Column("revision", statements.Integer, nullable=False),  # raised with each change of calendars and leave
    sa.Column("configuration", statements.Text, nullable=False),  # a hash of its calendars, reps and pools
    sa.Column("changed_at", statements.Integer, nullable=False),  # real time
)
slack_messages = sa.Table(
    "notifier_slack_messages",
    statements.metadata,
    sa.Column("page_id", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Column("person", statements.Text, nullable=False),  # as in the page
    sa.Column("recipient", statements.Text, nullable=False),  # the Slack id that it was sent to
    sa.Column("channel", statements.Text, nullable=False),  # the conversation, as Slack named it
    sa.Column("ts", statements.Text, nullable=False),
    sa.Column("asked", statements.Integer, nullable=False),  # how often an update was asked for
    sa.Column("shown", statements.Text, nullable=False),  # the standing that the message shows
    sa.Column("notice", statements.Text),  # for the person: why a click was refused later
    sa.Column("also", statements.Text, nullable=False),  # JSON: headline and page of other leads in it
    sa.Column("next_at", statements.Integer),  # real time: when it is to be shown anew; NULL: it is up to date
    sa.Column("tries", statements.Integer, nullable=False),
    sa.Column("error", statements.Text),
    sa.Column("day", statements.Integer, nullable=False),  # real days since 1970: only decides when the row is removed
    sa.Index("notifier_slack_messages_by_next", "next_at"),
    sa.Index("notifier_slack_messages_by_lead", "lead_id"),
    sa.Index("notifier_slack_messages_by_day", "day"),
)
clicks = sa.Table(
    "notifier_clicks",
    statements.metadata,
    sa.Column(
        "id", statements.Text, primary_key=True
    ),  # follows from the key of the click; also of the requested action
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Column("epoch", statements.Integer, nullable=False),
    sa.Column("person", statements.Text, nullable=False),
    sa.Column("action", statements.Text, nullable=False),
    sa.Column("source", statements.Text, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),  # business time: of a touch, that of the touch
    sa.Column("until", statements.Integer),  # of a snooze
    sa.Column("refused", statements.Text),  # why the router refused it; NULL: it has not
    sa.Column("day", statements.Integer, nullable=False),  # real days since 1970: only decides when the row is removed
    sa.Index("notifier_clicks_by_day", "day"),
)
