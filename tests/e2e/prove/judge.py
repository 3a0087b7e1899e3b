"""The judge: checks the effects of every acknowledged event and action, from the client's log and the topics alone.

Each function yields violations of one kind. A correct installation has none. `judge_pages` checks the pages.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal

from tests.e2e.prove.history import History, TopicRecord

Kind = Literal[
    "lost", "applied twice", "two owners", "order", "page missing", "too many deliveries", "late", "slow", "other"
]

PASSED_ON: Final = {
    "touch.recorded": "lead.touched",
    "email.unsubscribed": "consent.changed",
    "consent.withdrawn": "consent.changed",
    "consent.given": "consent.changed",
    "opportunity.changed": "opportunity.moved",
}
"""Outside events that scoring passes on as a fact instead of a score."""
CLOSES: Final = frozenset({"lead.released", "lead.recycled", "lead.opted_out", "lead.qualified"})
"""Records after which a lead has no owner."""
HELD: Final = frozenset({"assigned", "accepted", "working"})
ANSWER_SECONDS_MAX: Final = 3.0


@dataclass(frozen=True)
class Violation:
    """A broken promise, with the ids that show it."""

    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


Check = Callable[[History], Iterator[Violation]]


# --- events -------------------------------------------------------------------------------------------------------


def events_lost(history: History) -> Iterator[Violation]:
    """Yield acknowledged events that are not on `events`, have no effect on `leads`, or no effect on `routes`."""
    source_ids = {record.data["source_id"] for record in history.records_of("events")}
    for id in history.acknowledged:
        if id not in source_ids:
            yield Violation("lost", f"event {id} was acknowledged and is not on `events`")
    effects = _effects(history)
    for record in history.records_of("events"):
        wanted = PASSED_ON.get(record.type, "lead.scored")
        if not effects[record.id, wanted]:
            yield Violation("lost", f"event {_named(record)} has no {wanted} on `leads`")
    yield from _lost_leads(history)


def events_twice(history: History) -> Iterator[Violation]:
    """Yield outside events with two effects: two ids on `events`, two records on `leads`, or two on `routes`."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for record in history.records_of("events"):
        ids[record.data["source_id"]].add(record.id)
    for sent, ours in ids.items():
        if len(ours) > 1:
            yield Violation("applied twice", f"event {sent} is on `events` under {sorted(ours)}")
    for (event, type), records in _effects(history).items():
        if len(records) > 1:
            yield Violation("applied twice", f"event {event} has {len(records)} {type}: {_ids(records)}")
    counted: defaultdict[tuple[str, ...], list[TopicRecord]] = defaultdict(list)
    for lead, records in history.routes.items():
        for record in records:
            for cause in _causes(lead, record):
                counted[cause].append(record)
    for cause, records in counted.items():
        if len(records) > 1:
            yield Violation("applied twice", f"{' '.join(cause)}: {len(records)} records, {_ids(records)}")


def _effects(history: History) -> defaultdict[tuple[str, str], list[TopicRecord]]:
    """Return the records on `leads` that each outside event caused, by (event id, type)."""
    effects: defaultdict[tuple[str, str], list[TopicRecord]] = defaultdict(list)
    for record in history.records_of("leads"):
        cause = record.data["trigger"]["event_id"] if record.type == "lead.scored" else record.data.get("event_id")
        if cause is not None:
            effects[cause, record.type].append(record)
    return effects


def _causes(lead: str, record: TopicRecord) -> Iterator[tuple[str, ...]]:
    """Return the cause of a record that may cause only one."""
    data = record.data
    if record.type == "touch.applied" and data.get("event_id"):
        yield "touch", data["event_id"]
    elif record.type == "touch.applied":
        yield "touch at", data["touched_at"], "of lead", lead
    elif record.type == "lead.qualified":
        yield "hand-over by", data["trigger"]["event_id"]
    elif record.type == "action.resolved":
        yield "answer to action", data["action_id"]
    elif record.type in ("lead.accepted", "lead.released"):
        yield record.type, "of lead", lead, "epoch", str(data["epoch"])
    elif record.type == "lead.opted_out":
        yield "opt-out of lead", lead


def _lost_leads(history: History) -> Iterator[Violation]:
    touch_ids = {
        record.data["event_id"]
        for record in history.records_of("routes")
        if record.type == "touch.applied" and _caused(record)
    }
    types = {lead: Counter(record.type for record in records) for lead, records in history.routes.items()}
    for record in history.records_of("leads"):
        counts = types.get(record.lead, Counter())
        if record.type == "lead.touched" and record.data.get("event_id") not in touch_ids:
            yield Violation("lost", f"touch {record.data.get('event_id')} of lead {record.lead} is not on `routes`")
        elif record.type == "consent.changed" and not record.data["given"] and not counts["lead.opted_out"]:
            yield Violation("lost", f"opt-out {record.data['event_id']} of lead {record.lead} is not on `routes`")
        elif record.data.get("met") and not (counts["lead.qualified"] or counts["lead.opted_out"]):
            yield Violation("lost", f"lead {record.lead} met a line by record {record.id} and was never handed over")


def _caused(record: TopicRecord) -> bool:
    return bool(record.data.get("event_id"))


# --- leads --------------------------------------------------------------------------------------------------------


def owners(history: History) -> Iterator[Violation]:
    """Check that epochs are 1..n and do not overlap, and that a handed-over lead has an owner or waits."""
    for lead, records in history.routes.items():
        epochs = [record.data["epoch"] for record in records if record.type == "lead.assigned"]
        if sorted(epochs) != list(range(1, len(epochs) + 1)):
            yield Violation("two owners", f"lead {lead}: the assignments are numbered {epochs}")
        owner: str | None = None
        for record in records:
            if record.type == "lead.assigned":
                if owner is not None:
                    yield Violation("two owners", f"lead {lead}: given to {record.data['rep']} while {owner} owns it")
                owner = record.data["rep"]
            elif record.type in CLOSES or record.data.get("status", "assigned") not in (*HELD, "opportunity"):
                owner = None
        last = next((record for record in reversed(records) if "status" in record.data), None)
        if last is not None and last.data["status"] == "qualified" and last.type != "lead.queued":
            yield Violation("lost", f"lead {lead}: handed over, and neither owned nor queued")


def order(history: History) -> Iterator[Violation]:
    """Check that the records of a lead are complete on each topic, in the order of their commits."""
    for topic in ("leads", "routes"):
        versions: defaultdict[str, list[int]] = defaultdict(list)
        for record in history.records_of(topic):
            if "version" in record.data:
                versions[record.lead].append(record.data["version"])
        for lead, numbers in versions.items():
            yield from _numbered(topic, lead, numbers)
    for lead, records in history.routes.items():
        yield from _joined(lead, records)
    yield from _epochs_rise(history)


def _numbered(topic: str, lead: str, versions: Sequence[int]) -> Iterator[Violation]:
    if any(later < earlier for earlier, later in pairwise(versions)):
        yield Violation("order", f"`{topic}`, lead {lead}: versions {versions}")
    elif len(set(versions)) < len(versions):
        yield Violation("applied twice", f"`{topic}`, lead {lead}: versions {versions}")
    missing = set(range(1, max(versions) + 1)) - set(versions)
    if missing:
        yield Violation("lost", f"`{topic}`, lead {lead}: no record of version {sorted(missing)}")


def _joined(lead: str, records: Sequence[TopicRecord]) -> Iterator[Violation]:
    """Check that each record begins with the status of the record before it, and is not older."""
    moves = [record for record in records if "was" in record.data]
    for earlier, later in pairwise(moves):
        if later.data["was"] != earlier.data["status"]:
            yield Violation(
                "order",
                f"`routes`, lead {lead}: {later.type} (version {later.data['version']}) begins at "
                f"{later.data['was']}, {earlier.type} (version {earlier.data['version']}) ended at {earlier.data['status']}",
            )
    for earlier, later in pairwise(records):
        if later.moment("at") < earlier.moment("at"):
            yield Violation(
                "order", f"`routes`, lead {lead}: {later.id} ({later.type}) is older than {earlier.id} before it"
            )


def _epochs_rise(history: History) -> Iterator[Violation]:
    latest: dict[str, int] = {}
    for record in history.records_of("actions"):
        epoch = record.data["epoch"]
        if epoch < latest.get(record.lead, 0):
            yield Violation("order", f"`actions`, lead {record.lead}: epoch {epoch} after {latest[record.lead]}")
        latest[record.lead] = epoch


# --- actions ------------------------------------------------------------------------------------------------------


def actions(history: History) -> Iterator[Violation]:
    """Check that each request on `actions` has its answer, and each action over HTTP exactly one effect."""
    answered = {
        r.data["action_id"] for records in history.routes.values() for r in records if r.type == "action.resolved"
    }
    for record in history.records_of("actions"):
        if record.data["action_id"] not in answered:
            yield Violation("lost", f"action {record.data['action_id']} ({record.data['action']}) has no answer")
    done = {line["id"]: line for line in history.client if line["kind"] == "action" and line["status"] == 200}
    for line in done.values():
        records = history.routes.get(line["lead"], [])
        effects = [record for record in records if _is_effect(record, line)]
        if not effects and not (line["action"] == "accept" and _past_accepting(records)):
            yield Violation(
                "lost", f"{line['action']} {line['id']} of lead {line['lead']} was acknowledged without effect"
            )
        if len(effects) > 1 and line["action"] != "accept":
            yield Violation("applied twice", f"{line['action']} {line['id']} of lead {line['lead']}: {_ids(effects)}")


def _is_effect(record: TopicRecord, line: Mapping[str, Any]) -> bool:
    if line["action"] == "touch":
        asked = datetime.fromisoformat(line["at"]).timestamp()
        return record.type == "touch.applied" and record.moment("touched_at") == asked
    if line["action"] == "reject":
        return record.type == "lead.released" and record.data["kind"] == "reject"
    return record.type == "lead.accepted"


def _past_accepting(records: Sequence[TopicRecord]) -> bool:
    return any(record.data.get("status") in ("accepted", "working") for record in records)


# --- the gateways -------------------------------------------------------------------------------------------------


def requests(history: History) -> Iterator[Violation]:
    """Check that every event is acknowledged in the end, none refused, and each answered in time."""
    for id in {line["id"] for line in history.client if line["kind"] == "event"} - history.acknowledged.keys():
        yield Violation("other", f"event {id} was never acknowledged")
    for line in history.client:
        if line["kind"] == "event" and line["status"] is not None and 400 <= line["status"] < 500:
            yield Violation("other", f"event {line['id']} was refused with {line['status']}: {line['error']}")


def answers_in_time(history: History) -> Iterator[Violation]:
    """Check that each event is answered within 3 s, also while the broker does not answer."""
    for line in history.client:
        answered = line["status"] is not None or "Timeout" in line["error"]
        if line["kind"] == "event" and answered and line["seconds"] > ANSWER_SECONDS_MAX:
            yield Violation(
                "slow", f"event {line['id']}: gateway {line['gateway']} took {line['seconds']} s ({line['status']})"
            )


def _ids(records: Sequence[TopicRecord]) -> list[str]:
    return [record.id for record in records]


def _named(record: TopicRecord) -> str:
    return f"{record.data['source_id']} ({record.id}, {record.type})"


CHECKS: Final[tuple[Check, ...]] = (events_lost, events_twice, owners, order, actions, requests)
