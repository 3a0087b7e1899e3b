"""Tables that no invariant covers, with the reason and their columns."""

from typing import Final

TABLES_ASIDE: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "api_keys": (
        "not part of the chain of a lead",
        ("id", "name", "role", "rep", "source", "hash", "created_at", "expires_at", "revoked_at", "used_at"),
    ),
    "configuration_periods": (
        "the history of versions, shown to people; their contents are in `configurations`",
        ("id", "version", "began_at", "loaded_by"),
    ),
    "audit_log": (
        "not part of the chain of a lead",
        ("id", "at", "actor", "role", "via", "action", "target", "status", "request_id"),
    ),
    "console_sessions": (
        "not part of the chain of a lead",
        ("id", "hash", "name", "role", "rep", "key_id", "agent", "created_at", "expires_at", "used_at"),
    ),
    "console_links": ("not part of the chain of a lead", ("hash", "name", "role", "rep", "key_id", "expires_at")),
    "notifier_slack_messages": (
        "only decides where a message in Slack is shown anew; the page itself is a row of `notifier_pages`",
        (
            "page_id",
            "lead_id",
            "person",
            "recipient",
            "channel",
            "ts",
            "asked",
            "shown",
            "notice",
            "also",
            "next_at",
            "tries",
            "error",
            "day",
        ),
    ),
    "notifier_clicks": (
        "a click leaves a record on `actions`; its row recognises a replay and is removed by age",
        ("id", "lead_id", "epoch", "person", "action", "source", "at", "until", "refused", "day"),
    ),
    "notifier_link_keys": ("not part of the chain of a lead", ("id", "secret", "created_at")),
    "notifier_alerts": (
        "the state at the alerting service; the next change of the clock sends it again",
        ("lead_id", "channel", "state", "at"),
    ),
    "notifier_dispatches": (
        "a webhook or notice follows from a record of `routes`, which is kept",
        (
            "id",
            "kind",
            "channel",
            "channels",
            "type",
            "lead_id",
            "body",
            "state",
            "next_at",
            "tries",
            "failures",
            "error",
            "created_at",
            "ended_at",
        ),
    ),
    "notifier_dispatch_attempts": (
        "not part of the chain of a lead",
        ("dispatch_id", "n", "channel", "at", "milliseconds", "outcome", "detail"),
    ),
    "notifier_endpoints": ("not part of the chain of a lead", ("channel", "disabled_at", "why")),
    "notifier_findings": ("the next audit finds the fault again", ("check_name", "number", "text", "since", "seen_at")),
    "reporting_fields": (
        "names of fields for people; no decision reads them",
        ("source", "name", "events", "first_at", "last_at"),
    ),
    "gateway_sources": (
        "counts of requests by outcome, shown to people",
        ("source", "hour", "outcome", "number", "last_at", "lag"),
    ),
    "gateway_quarantine": (
        "events that are not handled yet: none of them is on the log",
        ("event_id", "source", "type", "key", "at", "body"),
    ),
    "router_bursts": (
        "whether the leads of a burst go on; a lead that is held back says so itself",
        (
            *("id", "label", "source", "since", "last_at", "leads", "released_at", "released_by", "served"),
            *("dropped_at", "dropped_by", "drop_reason"),
        ),
    ),
    "gateway_fetches": (
        "thin events that are no events yet: none of them is on the log",
        ("id", "source", "event_id", "event", "received_at", "added_at", "next_at", "tries", "error"),
    ),
    "reporting_search": ("taken from the history, from which `firsthour rebuild` takes it again", ("lead_id", "terms")),
    "reporting_terms": ("the terms of `reporting_search` as an index", ("term", "lead_id")),
    "reporting_funnel": (
        "counted from the history, from which `firsthour rebuild` counts it again",
        (
            "lead_id",
            "cycle",
            "start_at",
            "source",
            "campaign",
            "form",
            "persona",
            "grade",
            "rep",
            "team",
            "status",
            "status_at",
            "ended",
            "steps",
        ),
    ),
    "reporting_funnel_days": (
        "sums of `reporting_funnel`, counted again at any change",
        ("day", "layout", "made", "body"),
    ),
    "reporting_funnel_marks": ("days whose sums are counted again", ("day", "slot", "change")),
    "reporting_sources": (
        "the events of each source and hour: the auditor compares a source with its own history",
        ("source", "hour", "events"),
    ),
}
