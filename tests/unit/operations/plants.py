"""Faults to plant: for every table and column, the invariant that notices a change of one row, or why none does.

A column that is not listed fails the test, so each new column needs an entry.
"""

from dataclasses import dataclass, field
from typing import Final

from tests.unit.operations.tables_aside import TABLES_ASIDE


@dataclass(frozen=True)
class Plant:
    """One change of one row.

    `by`: at least one of these invariants must break; `left out`: the lead must be reported as not judged. `to`: SQL of
    the new value; by default another value of the type. `where`: the rows to change; by default all.
    """

    by: str
    to: str | None = None
    where: str = "1 = 1"


@dataclass(frozen=True)
class Table:
    """The faults of one table. `gone`: a deleted row. `free`: columns that no invariant covers, with the reason."""

    gone: Plant | str
    columns: dict[str, Plant] = field(default_factory=dict)
    free: dict[str, str] = field(default_factory=dict)


TEXT: Final = "{column} || 'x'"
NOT_JSON: Final = "'{'"
BYTES: Final = "X'78'"
_OWNED: Final = "owner IS NOT NULL"
_RUNG_TOLD: Final = """state = 'live' AND accepted = 0 AND lead_id IN (
    SELECT lead_id FROM notifier_pages WHERE notifier_pages.state = 'sent' AND refusals = 0
    AND notifier_pages.epoch = notifier_clocks.epoch AND rung = next_rung - 1 AND kind <> 'manager')"""
_SHOWN: Final = "only shown to people"
_BOOKS: Final = "not part of the chain of a lead"
_AGE: Final = "only decides when a row is removed"

TABLES: Final[dict[str, Table]] = {
    **{name: Table(why, free=dict.fromkeys(columns, why)) for name, (why, columns) in TABLES_ASIDE.items()},
    "applied": Table(
        _BOOKS,
        free=dict.fromkeys(
            ("id", "version", "applied_at", "effective_at", "agreement", "team", "sources"),
            "the next configuration; those that were in force are in `configurations`",
        ),
    ),
    "configurations": Table(
        gone=Plant("I10"),
        columns={
            "version": Plant("I10"),
            "agreement": Plant("I10", NOT_JSON),
            "team": Plant("I10", NOT_JSON),
        },
        free={
            "taken_up_at": "an agreement that came back into force keeps its first date: only a later date is a fault"
        },
    ),
    "cursors": Table(
        gone=Plant("left out"),
        columns={
            "consumer": Plant("left out"),
            "topic": Plant("left out"),
            "position": Plant("I1 left out", "{column} + 1000000"),
        },
        free={
            "partition": "an extra cursor belongs to a partition that does not exist; with one less, records are read again and found in `seen`"
        },
    ),
    "dead_letters": Table(
        "a dead letter is the only copy",
        free=dict.fromkeys(
            (
                "id",
                "at",
                "consumer",
                "origin",
                "source",
                "content_type",
                "body",
                "error",
                "code",
                "state",
                "changed_at",
                "tries",
                "bytes",
                "budget",
                "rank",
                "key",
            ),
            "as received; no other row repeats it",
        ),
    ),
    "dead_letter_totals": Table(
        "computed again from the letters",
        free=dict.fromkeys(("budget", "bytes"), "bounds the stored letters, and is computed again from them"),
    ),
    "idempotency": Table(
        "a repeated request is also recognised by the id of its event",
        free=dict.fromkeys(("scope", "key", "fingerprint", "status", "body", "at"), _BOOKS),
    ),
    "log": Table(
        gone="rows read by all are removed by age; before that, cursors show which are unread",
        columns={
            "id": Plant("I1 left out", "{column} + 1000000", "topic = 'routes'"),
            "topic": Plant("I1 left out", "'pages'", "topic = 'routes'"),
            "event_id": Plant("I1"),
            "body": Plant("I1", BYTES),
        },
        free={
            "partition": "of one there",
            "key": "consumers read the key in the record; the column only selects the partition",
            "at": _AGE,
        },
    ),
    "meta": Table(_BOOKS, free=dict.fromkeys(("name", "value"), _BOOKS)),
    "notifier_attempts": Table(
        gone=Plant("I6"),
        columns={
            "page_id": Plant("I6"),
            "n": Plant("I6"),
            "channel": Plant("I6"),
            "outcome": Plant("I6"),
        },
        free={"at": _SHOWN, "detail": _SHOWN},
    ),
    "notifier_clocks": Table(
        gone=Plant("I4"),
        columns={
            "lead_id": Plant("I4"),
            "version": Plant("I4"),
            "epoch": Plant("I4"),
            "rep": Plant("I4"),
            "urgency": Plant("I4"),
            "submit_at": Plant("I4"),
            "promise_at": Plant("I4"),
            "assigned_at": Plant("I4"),
            "next_rung": Plant("I4 I5"),
            "due_at": Plant("I4"),
            "state": Plant("I4"),
            "touched_at": Plant("I4"),
            "opted_out": Plant("I4", "1 - {column}"),
            "accepted": Plant("I4", "1 - {column}"),
            "missed_at": Plant("I4", where="state IN ('live', 'missed')"),
            "card": Plant("I4", """replace({column}, '"name":"', '"name":"x')"""),
            "reassignments": Plant("I4"),
            "ladder": Plant("I4", "'[]'"),
            "fired_at": Plant("I4", where=_RUNG_TOLD),
            "rung_told_at": Plant("I4", where=_RUNG_TOLD),
            "told_at": Plant("I4", where=_RUNG_TOLD),
            "untold_at": Plant("I4", "1", _RUNG_TOLD),
            "rep_version": Plant("I4"),
            "counted_in": Plant("I4"),
            "touch_within": Plant("I4"),
            "worked": Plant("I4"),
            "counted_from": Plant("I4"),
            "pool": Plant("I4", where="pool IS NOT NULL"),
            "pauses": Plant("I4", """'[["snooze",0,1]]'"""),
            "attempts": Plant("I4"),
            "attempted_at": Plant("I4", "1"),
            "talked_at": Plant("I4", "1"),
        },
        free={
            "updated_at": "only decides which leads changed after the command began",
            "hours_revision": "only decides when the clock is counted anew; `promise_at` is checked",
            "remind_at": "`due_at` of a clock that has ended follows from it, and is checked",
            "reminders": "numbers the reminders of the next attempt; each is a row of `notifier_pages`",
            "snoozed_until": "only delays a reminder to the owner; `due_at` follows from it",
            "rung_empty": "only decides when the next rung is due; `due_at` follows from it, and is checked",
            "follow_up": "the reminders as when the clock started; `due_at` follows from them, and is checked",
            "waiting_at": "the beginning of the wait in the queue, for the alert of the manager",
            "previous": "what the next owner is told of the assignment before",
            "request": "numbers the requests of an owned lead; each page is a row of `notifier_pages`",
        },
    ),
    "notifier_hours": Table(
        "without it, every clock that counts in hours of work is counted anew",
        free=dict.fromkeys(("id", "revision", "configuration", "changed_at"), "decides when clocks are counted anew"),
    ),
    "notifier_pages": Table(
        gone=Plant("I5 I6"),
        columns={
            "id": Plant("I5"),
            "lead_id": Plant("I5"),
            "epoch": Plant("I5"),
            "rung": Plant("I5", "{column} + 100"),
            "kind": Plant("I5"),
            "person": Plant("I5"),
            "channels": Plant("I6", NOT_JSON, "state = 'sent'"),
            "channel_index": Plant("I6", where="state = 'sent'"),
            "state": Plant("I6"),
            "due_at": Plant("I5", "created_at + 1"),
            "next_at": Plant("I6", "1", "state = 'sent'"),
            "first_try_at": Plant(
                "I7",
                "{column} + 86400000000",
                "state = 'sent' AND kind <> 'lost' "
                "AND lead_id IN (SELECT lead_id FROM notifier_clocks WHERE opted_out = 1)",
            ),
            "deliveries": Plant("I6"),
            "error": Plant("I6", "NULL", "state = 'cancelled'"),
            "created_at": Plant("I5", "due_at - 1"),
            "sent_at": Plant("I6", where="state = 'sent'"),
        },
        free={
            "tries": "spaces the deliveries on one channel; each delivery has its attempt",
            "refusals": "spaces deliveries after refusals; each delivery has its attempt",
            "provider_id": _SHOWN,
            "rank": "only orders pages that wait for a claim",
            "destination": "only divides the slots and the outages of channels",
            "delay": _SHOWN,
            "carrier": "the page in whose message this one was sent: shown to people",
            "claimed_at": "only counts pages for the budget of a person",
        },
    ),
    "notifier_reps": Table(
        gone=Plant("I3"),
        columns={"rep": Plant("I3"), "state": Plant("I3"), "version": Plant("I3")},
        free={
            "until": "the end of an absence is a new record",
            "at": "only orders records of availability",
            "absences": "`promise_at` of clocks in hours of work follows from it",
        },
    ),
    "reporting_history": Table(
        gone=Plant("I1 I3 I4 I6 I9"),
        columns={
            "id": Plant("I1"),
            "topic": Plant("I1"),
            "type": Plant("I1"),
            "lead_id": Plant("I1", where="lead_id IS NOT NULL"),
            "cause": Plant("I1", where="cause IS NOT NULL"),
            "at": Plant("I1"),
            "body": Plant("I1", BYTES),
        },
        free={
            "heard_at": _AGE,
            "position": "orders the records of a partition; versions order the records of a lead",
        },
    ),
    "reporting_aliases": Table(
        "no lead of this installation was merged into another one",
        free=dict.fromkeys(("merged_id", "lead_id"), "names the lead that remains of a merge"),
    ),
    "reporting_models": Table(
        "without it, the requests of all leads are counted again",
        free=dict.fromkeys(("name", "version", "done_to"), "decides whether requests are counted again"),
    ),
    "reporting_responses": Table(
        gone=Plant("I2"),
        columns={
            "lead_id": Plant("I2"),
            "submit_at": Plant("I2"),
            "urgency": Plant("I2"),
            "source": Plant("I2", where="source IS NOT NULL"),
            "rep": Plant("I2", where="rep IS NOT NULL"),
            "touched_at": Plant("I2", "1"),
            "left_at": Plant("I2", "1"),
            "attempts": Plant("I2"),
            "conversations": Plant("I2"),
            "held_at": Plant("I2", "1"),
            "released_at": Plant("I2", "1"),
        },
        free=dict.fromkeys(("working_us", "hour_at"), "follows from the calendars of the time at which it was counted"),
    ),
    "reporting_statuses": Table(
        gone=Plant("I1"),
        columns={"lead_id": Plant("I1"), "status": Plant("I1"), "version": Plant("I1")},
    ),
    "router_assignments": Table(
        gone=Plant("I3"),
        columns={
            "lead_id": Plant("I3"),
            "epoch": Plant("I3", "{column} + 100"),
            "rep": Plant("I3"),
            "pool": Plant("I3"),
            "rule": Plant("I3"),
            "decision_id": Plant("I10"),
            "opened_at": Plant("I3"),
            "closed_at": Plant("I3", where="closed_at IS NOT NULL"),
            "closed_by": Plant("I3", where="closed_at IS NOT NULL"),
        },
        free={"close_reason": _SHOWN},
    ),
    "router_decisions": Table(
        gone=Plant("I10", where="chosen IS NOT NULL"),
        columns={
            "id": Plant("I10", where="chosen IS NOT NULL"),
            "lead_id": Plant("I1 I10"),
            "epoch": Plant("I10", where="chosen IS NOT NULL"),
            "at": Plant("I10"),
            "agreement": Plant("I10"),
            "chosen": Plant("I10"),
            "body": Plant("I10", NOT_JSON),
        },
    ),
    "router_leads": Table(
        gone=Plant("I1"),
        columns={
            "lead_id": Plant("I1"),
            "status": Plant("I9"),
            "version": Plant("I9"),
            "epoch": Plant("I3"),
            "owner": Plant("I3"),
            "pool": Plant("I3", where="version > 0"),
            "queue_pool": Plant("I3", where="version > 0"),
            "queue_reason": Plant("I1", "NULL", "queue_pool IS NOT NULL"),
            "queue_since": Plant("I3", where="version > 0"),
            "urgency": Plant("I3", where="version > 0"),
            "urgency_rank": Plant("I3", where="urgency <> ''"),
            "submit_at": Plant("I3", where="version > 0"),
            "touched_at": Plant("I3", where="version > 0"),
            "scoring_version": Plant("I1"),
            "email": Plant("I1"),
            "source": Plant("I3", where="owner IS NOT NULL"),
            "state": Plant("I1", """replace({column}, '"facts":{', '"facts":{"name":"x","name_of":"')"""),
        },
        free={"created_at": "orders lists", "updated_at": "only decides which leads changed after the command began"},
    ),
    "router_pools": Table(
        "a pool without a row begins a round: this only changes shares",
        free=dict.fromkeys(
            ("pool", "virtual", "lags"), "only changes shares; the inputs of a decision are in decisions"
        ),
    ),
    "router_reps": Table(
        gone=Plant("I8", where="open > 0"),
        columns={
            "rep": Plant("I8", where="open > 0"),
            "open": Plant("I8"),
            "said": Plant("I3"),
            "version": Plant("I3"),
        },
        free={
            "state": "the last command of the rep; `said` is what other services were told",
            "until": "the end of an absence is a new record",
            "updated_at": "only orders records of availability",
            "reason": _SHOWN,
        },
    ),
    "router_turns": Table(
        "a member without a turn begins at the average: this only changes shares",
        free=dict.fromkeys(("pool", "rep", "pass"), "only changes shares; each decision stores its inputs"),
    ),
    "scoring_identities": Table(
        gone=Plant("I1"),
        columns={"identity": Plant("I1"), "lead_id": Plant("I1")},
    ),
    "scoring_profiles": Table(
        gone=Plant("I1"),
        columns={
            "lead_id": Plant("I1"),
            "version": Plant("I1"),
            "email": Plant("I1"),
            "phone": Plant("I1"),
            "state": Plant("I1", NOT_JSON),
            "active_at": Plant("I1"),
        },
        free={"updated_at": "only decides which leads changed after the command began"},
    ),
    "scoring_shared": Table(
        "one lead less is found by a shared identifier",
        free=dict.fromkeys(("identity", "lead_id"), "the record of an event stores which lead it is about"),
    ),
    "scoring_standings": Table(
        "only selects among leads that share an identifier, from the next event on",
        free=dict.fromkeys(("lead_id", "version", "open"), "stored again when the lead changes teams"),
    ),
    "seen": Table(
        gone=Plant("I1"),
        columns={"consumer": Plant("I1"), "event_id": Plant("I1")},
        free={"day": _AGE},
    ),
}
