"""The judge of pages: checks that the page of each rung arrived, how often, and how late.

Each `lead.assigned` and each `lead.asked_again` on `routes` starts a ladder. Its pages are owed until a record of the lead ends the ladder: a touch, an
acceptance, an opt-out, another assignment. The time at which a rung is due: see `_due`.

A page that did not arrive before its ladder ended is excused in two cases: the ladder ended within `LATE_SECONDS_MAX` after
the page was due, or more than one fault was between these two times.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from services.notifier.domain.page import HANDED_ON, LOST, page_id, page_number
from tests.e2e.prove.faults import ROLLING, Hit
from tests.e2e.prove.history import History, Receipt, TopicRecord
from tests.e2e.prove.judge import Check, Violation

LATE_SECONDS_MAX: Final = 60.0
EARLY_SECONDS_MAX: Final = 1.0
"""The largest difference between the clocks of a sink and of the database."""
RECOVERY_SECONDS: Final = 20.0
"""A fault can delay pages for this long after its end."""
ON_THE_WIRE_SECONDS: Final = 0.5
"""A message can arrive this long after the end of the process that sent it."""
HUNG_CALL_SECONDS: Final = 6.0
"""A call to the hanging Slack can arrive this long after the fault, because its sender waits 5 s for the answer."""
COUNTED: Final = frozenset({"qualified", "assigned", "accepted"})
"""The statuses in which a ladder continues."""
CLOCKS: Final = frozenset({"lead.qualified", "lead.asked_again"})
"""The records that start a new clock. They number the requests of the person."""
ENDS: Final = CLOCKS | {"lead.released", "lead.recycled", "lead.opted_out", "lead.assigned"}
"""The records that end a ladder in any status."""


@dataclass(frozen=True)
class OwedPage:
    """A page that an assignment owes. `ended`: when its ladder ended. None: the ladder has not ended."""

    page_id: str
    lead: str
    epoch: int
    number: int
    person: str
    due: float
    ended: float | None
    arrivals: Sequence[Receipt] = ()
    failed: bool = False
    excused: bool = False

    @property
    def arrived_at(self) -> float | None:
        """Return when the page first arrived. None: it has not arrived."""
        return self.arrivals[0].at if self.arrivals else None

    @property
    def missing(self) -> bool:
        return not (self.failed or self.excused or self.arrived_at is not None)

    def __str__(self) -> str:
        return f"page {self.page_id} (lead {self.lead}, epoch {self.epoch}, rung {self.number}, {self.person})"


def owed_pages(history: History) -> list[OwedPage]:
    """Return every owed page with its arrivals."""
    failed = {record.data["page_id"] for record in history.records_of("pages") if record.type == "page.failed"}
    return [
        page
        for lead, records in history.routes.items()
        for place, record in enumerate(records)
        if record.type in ("lead.assigned", "lead.asked_again") and record.data.get("touched_at") is None
        for page in _ladder(history, lead, record, records[place + 1 :], failed, _request(records, place))
    ]


def _request(records: Sequence[TopicRecord], place: int) -> int:
    """Return the number of the request whose clock runs at this record; 0 is the first."""
    return max(0, sum(record.type in CLOCKS for record in records[: place + 1]) - 1)


def _started(record: TopicRecord) -> float:
    """Return when the ladder of this record started."""
    return record.moment("assigned_at" if record.type == "lead.assigned" else "at")


def _ladder(
    history: History,
    lead: str,
    assigned: TopicRecord,
    later: Sequence[TopicRecord],
    failed: set[str],
    request: int,
) -> Iterator[OwedPage]:
    epoch, person = assigned.data["epoch"], assigned.data["rep"]
    ended = next((record.moment("at") for record in later if _ends(record, assigned)), None)
    for index, due in enumerate(_due(history, lead, assigned, later, request)[:-1]):
        number = page_number(request, index)
        id = page_id(lead, epoch, number, person)
        arrivals, excused = history.arrived.get(id, []), _excused(history, due, ended)
        yield OwedPage(id, lead, epoch, number, person, due, ended, arrivals, id in failed, excused)


def _due(history: History, lead: str, assigned: TopicRecord, later: Sequence[TopicRecord], request: int) -> list[float]:
    """Return when each rung of an assignment is due. The last one is the change of owner.

    A rung is due its span after the page of the rung before was told: at the first arrival of that page, whatever the time
    of its `page.sent`, or when the owner accepted while the page was overdue. A page that never arrived delays no rung.
    """
    epoch, person, start = assigned.data["epoch"], assigned.data["rep"], _started(assigned)
    accepts = (record for record in later if record.type == "lead.accepted" and record.data["epoch"] == epoch)
    accepted = next((record.moment("at") for record in accepts), None)
    delay, dues = 0.0, list[float]()
    for index, after in enumerate(history.plan.ladder):
        number = page_number(request, index)
        planned = start + after
        dues.append(planned + delay)
        times = [arrival.at for arrival in history.arrived.get(page_id(lead, epoch, number, person), [])]
        if accepted is not None and accepted >= dues[-1]:
            times.append(accepted)
        if times:
            delay = max(0.0, min(times) - planned)
    return [*dues, start + history.plan.reassign_at + delay]


def _excused(history: History, due: float, ended: float | None) -> bool:
    return ended is not None and (ended - due <= LATE_SECONDS_MAX or len(_crossed(history.hits, due, ended)) > 1)


def _ends(record: TopicRecord, assigned: TopicRecord) -> bool:
    if record.type == "action.resolved":
        return False
    if record.type == "touch.applied":
        return record.moment("touched_at") >= assigned.moment("submit_at")
    return record.type in ENDS or record.type == "lead.accepted" or record.data.get("status") not in COUNTED


# --- findings -----------------------------------------------------------------------------------------------------


def missing(history: History) -> Iterator[Violation]:
    """Yield owed pages that never arrived, changes of owner that never happened, and pages of no assignment."""
    pages = owed_pages(history)
    for page in pages:
        if page.missing:
            yield Violation("page missing", f"{page} never arrived")
        elif page.failed:
            yield Violation("page missing", f"{page} failed, although the mail server accepted mails all the time")
    page_ids = {page.page_id for page in pages} | _notices(history)
    for id, arrivals in history.arrived.items():
        if id not in page_ids:
            yield Violation("other", f"page {id} arrived {len(arrivals)} times without an assignment on `routes`")
    for record in history.records_of("pages"):
        if record.type == "page.sent" and not history.arrived.get(record.data["page_id"]):
            yield Violation("page missing", f"page {record.data['page_id']} has a `page.sent` and never arrived")
    yield from _missing_changes(history)


def _notices(history: History) -> set[str]:
    """Return the ids of the notices to reps who lost a lead, of every assignment that has ended, and to the next owners.

    No rung tells the owner of a lead whose person was contacted before, or by another rep before the owner was told.
    """
    handed_on = {
        page_id(lead, record.data["epoch"], HANDED_ON, record.data["rep"])
        for lead, records in history.routes.items()
        for record in records
        if record.type == "lead.assigned"
        and (record.data.get("touched_at") is not None or record.data["epoch"] in _touched_epochs(records))
    }
    return handed_on | {
        page_id(lead, record.data["epoch"], page_number(request, LOST), record.data["rep"])
        for lead, records in history.routes.items()
        for place, record in enumerate(records)
        if record.type == "lead.assigned" and any(later.type in ENDS for later in records[place + 1 :])
        for request in range(_request(records, len(records) - 1) + 1)
    }


def _touched_epochs(records: Sequence[TopicRecord]) -> set[int]:
    return {record.data["epoch"] for record in records if record.type == "touch.applied"}


def _missing_changes(history: History) -> Iterator[Violation]:
    action_ids = {record.data["action_id"] for record in history.records_of("actions")}
    for lead, epoch, number, due, ended in reassignments(history):
        if not _excused(history, due, ended) and f"{lead}:{epoch}:{number}" not in action_ids:
            yield Violation("page missing", f"lead {lead}, epoch {epoch}: the rung that changes the owner never fired")


def reassignments(history: History) -> Iterator[tuple[str, int, int, float, float | None]]:
    """Yield each owed change of owner: lead, epoch, number of the rung, due time, and end of the ladder. None: it goes on.

    After an acceptance the change of owner is still owed.
    """
    for lead, records in history.routes.items():
        for place, record in enumerate(records):
            if record.type == "lead.assigned" and record.data.get("touched_at") is None:
                ends = (r for r in records[place + 1 :] if r.type != "lead.accepted" and _ends(r, record))
                ended = next((r.moment("at") for r in ends), None)
                request = _request(records, place)
                due = _due(history, lead, record, records[place + 1 :], request)[-1]
                yield lead, record.data["epoch"], page_number(request, len(history.plan.ladder)), due, ended


def repeated(history: History) -> Iterator[Violation]:
    """Yield pages that arrived more often than the faults explain, and pages with two sent records."""
    for id, arrivals in history.arrived.items():
        excess = [pair for pair in pairwise(arrivals) if why_again(*pair, history.hits) is None]
        if excess:
            times = [f"{receipt.at:.2f} ({receipt.channel})" for receipt in arrivals]
            yield Violation(
                "too many deliveries", f"page {id}: arrived at {times}, {len(excess)} times without a fault"
            )
    counts = Counter(record.data["page_id"] for record in history.records_of("pages") if record.type == "page.sent")
    for id, count in counts.items():
        if count > 1:
            yield Violation("applied twice", f"page {id} has {count} records `page.sent`")


def why_again(earlier: Receipt, later: Receipt, hits: Sequence[Hit]) -> str | None:
    """Return the fault that explains a second arrival of a page. None: no fault explains it.

    The sender did not get the answer of the first arrival, or a notifier was killed or the database restarted between the
    two arrivals. So each fault excuses one more arrival.
    """
    if not earlier.answered:
        return "broken answer"
    for hit in hits:
        if hit.kind == "slack hangs" and hit.start <= earlier.at <= hit.end + HUNG_CALL_SECONDS:
            return "broken answer"  # Slack answered after the sender had given up
        interrupts = (hit.kind == "kill" and hit.target.startswith("notifier")) or hit.kind == "database restarted"
        if interrupts and hit.start <= later.at and hit.end + ON_THE_WIRE_SECONDS >= earlier.at:
            return hit.kind
    return None


# --- time ---------------------------------------------------------------------------------------------------------


@dataclass
class Lateness:
    """How late the rungs were, in seconds.

    A single rung is one with at most one fault between its due time and its arrival.
    """

    worst: float = 0.0  # of all rungs
    worst_single: float = 0.0  # of the single rungs
    under: str = "no fault"  # the fault of the latest single rung
    judged: int = 0  # number of single rungs
    late: list[str] = field(default_factory=list)  # single rungs above the limit


def lateness(history: History) -> Lateness:
    """Measure each rung from its due time to the arrival of its page, or to the request of the change of owner."""
    result = Lateness()
    for name, due, arrived_at in _arrivals(history):
        late = arrived_at - due
        result.worst = max(result.worst, late)
        crossed = _crossed(history.hits, due, arrived_at)
        if len(crossed) <= 1:
            result.judged += 1
            under = ", ".join(sorted(crossed)) or "no fault"
            if late > result.worst_single:
                result.worst_single, result.under = late, under
            if late > LATE_SECONDS_MAX:
                result.late.append(f"{name}: {late:.1f} s late, under {under}")
    return result


def _arrivals(history: History) -> Iterator[tuple[str, float, float]]:
    """Yield each rung that fired: its name, its due time, and when the page arrived or the change was requested."""
    for page in owed_pages(history):
        if page.arrived_at is not None:
            yield str(page), page.due, page.arrived_at
    requests = {record.data["action_id"]: record.moment("at") for record in history.records_of("actions")}
    for lead, epoch, number, due, _ in reassignments(history):
        requested_at = requests.get(f"{lead}:{epoch}:{number}")
        if requested_at is not None:
            yield f"change of owner (lead {lead}, epoch {epoch})", due, requested_at


def _crossed(hits: Sequence[Hit], begin: float, end: float) -> set[str]:
    """Return the faults between two times, each with its recovery. A rolling restart of any number of processes is one."""
    return {
        hit.kind if hit.kind == ROLLING else f"{hit.kind} {hit.target} at {hit.start:.0f}"
        for hit in hits
        if hit.start <= end and hit.end + RECOVERY_SECONDS >= begin
    }


def late(history: History) -> Iterator[Violation]:
    """Yield rungs that are more than 60 s late under at most one fault."""
    for rung in lateness(history).late:
        yield Violation("late", rung)


def early(history: History) -> Iterator[Violation]:
    """Yield rungs that fired before they were due."""
    for name, due, arrived_at in _arrivals(history):
        if arrived_at < due - EARLY_SECONDS_MAX:
            yield Violation("other", f"{name}: {due - arrived_at:.1f} s before its time")


def settled_seconds(history: History, calm: float) -> float:
    """Return the seconds from `calm`, the end of the faults, to the last effect of events and rungs before it."""
    source_ids = {id for id, at in history.acknowledged.items() if at <= calm}
    events = {record.id for record in history.records_of("events") if record.data["source_id"] in source_ids}
    moments = [record.at for record in history.records_of("leads") if _cause(record) in events]
    moments += [record.at for record in history.records_of("routes") if _cause(record) in events]
    pages = owed_pages(history)
    moments += [page.arrived_at for page in pages if page.arrived_at is not None and page.due <= calm]
    return max([0.0, *(moment - calm for moment in moments)])


def _cause(record: TopicRecord) -> str | None:
    trigger = record.data.get("trigger")
    return trigger["event_id"] if trigger else record.data.get("event_id")


def owed(history: History) -> int:
    """Return the number of rungs that may still fire: their ladder has not ended, and no page has arrived."""
    waiting = sum(page.arrived_at is None and not page.failed and page.ended is None for page in owed_pages(history))
    action_ids = {record.data["action_id"] for record in history.records_of("actions")}
    return waiting + sum(
        ended is None and f"{lead}:{epoch}:{number}" not in action_ids
        for lead, epoch, number, _, ended in reassignments(history)
    )


CHECKS: Final[tuple[Check, ...]] = (missing, repeated, early)
