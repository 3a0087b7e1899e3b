"""The judge of pages: whether the page of each rung arrived, how often, and how late.

Each `lead.assigned` on `routes` owes the rungs of the agreement's ladder until the lead is touched, accepted, opted out or
given on. A rung is due its span after the rung before it was told. A page whose ladder ended before it came is excused
where it could have been that late: within `LATE_SECONDS_MAX`, or later when more than one fault lay between.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from services.notifier.domain.page import page_id
from tests.e2e.prove.faults import ROLLING, Hit
from tests.e2e.prove.history import History, Receipt, TopicRecord
from tests.e2e.prove.judge import Check, Violation

LATE_SECONDS_MAX: Final = 60.0
EARLY_SECONDS_MAX: Final = 1.0
"""The largest difference between the clocks of a sink and of the database."""
RECOVERY_SECONDS: Final = 20.0
"""How long after its end a fault can explain lateness."""
ON_THE_WIRE_SECONDS: Final = 0.5
"""How long after the end of its sender a message can arrive."""
ASKED_SECONDS: Final = 6.0
"""How long after Slack hung it may still accept earlier calls: their senders wait 5 s."""
COUNTED: Final = frozenset({"qualified", "assigned", "accepted"})
ENDS: Final = frozenset({"lead.released", "lead.recycled", "lead.opted_out", "lead.qualified", "lead.assigned"})


@dataclass(frozen=True)
class OwedPage:
    """A page that an assignment owes. `ended`: when its ladder ended. None: it did not."""

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
    def told(self) -> float | None:
        """Return when the person first received it."""
        return self.arrivals[0].at if self.arrivals else None

    @property
    def missing(self) -> bool:
        return not (self.failed or self.excused or self.told is not None)

    def __str__(self) -> str:
        return f"page {self.page_id} (lead {self.lead}, epoch {self.epoch}, rung {self.number}, {self.person})"


def rungs(history: History) -> list[OwedPage]:
    """Return every owed page with its arrivals."""
    failed = {record.data["page_id"] for record in history.said("pages") if record.type == "page.failed"}
    return [
        rung
        for lead, records in history.routes.items()
        for place, record in enumerate(records)
        if record.type == "lead.assigned" and record.data.get("touched_at") is None
        for rung in _ladder(history, lead, record, records[place + 1 :], failed)
    ]


def _ladder(
    history: History, lead: str, assigned: TopicRecord, later: Sequence[TopicRecord], failed: set[str]
) -> Iterator[OwedPage]:
    epoch, person = assigned.data["epoch"], assigned.data["rep"]
    ended = next((record.moment("at") for record in later if _ends(record, assigned)), None)
    for number, due in enumerate(_due(history, lead, assigned, later)[:-1]):
        id = page_id(lead, epoch, number, person)
        arrivals, excused = history.arrived.get(id, []), _excused(history, due, ended)
        yield OwedPage(id, lead, epoch, number, person, due, ended, arrivals, id in failed, excused)


def _due(history: History, lead: str, assigned: TopicRecord, later: Sequence[TopicRecord]) -> list[float]:
    """Return when each rung of an assignment is due; the change of owner is the last.

    A rung comes its span after the rung before it was told: at the first arrival of its page, however late that is said to
    be sent, or when the owner accepted while the page was overdue. A rung that never came delays none.
    """
    epoch, person, start = assigned.data["epoch"], assigned.data["rep"], assigned.moment("assigned_at")
    accepts = (record for record in later if record.type == "lead.accepted" and record.data["epoch"] == epoch)
    accepted = next((record.moment("at") for record in accepts), None)
    delay, found = 0.0, list[float]()
    for number, after in enumerate(history.plan.ladder):
        planned = start + after
        found.append(planned + delay)
        told = [arrival.at for arrival in history.arrived.get(page_id(lead, epoch, number, person), [])]
        if accepted is not None and accepted >= found[-1]:
            told.append(accepted)
        if told:
            delay = max(0.0, min(told) - planned)
    return [*found, start + history.plan.reassign_at + delay]


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
    owed = rungs(history)
    for rung in owed:
        if rung.missing:
            yield Violation("page missing", f"{rung} never arrived")
        elif rung.failed:
            yield Violation("page missing", f"{rung} ended as failed, though mail was there all along")
    known = {rung.page_id for rung in owed}
    for id, arrivals in history.arrived.items():
        if id not in known:
            yield Violation("other", f"page {id} arrived {len(arrivals)} times, about no assignment on `routes`")
    for record in history.said("pages"):
        if record.type == "page.sent" and not history.arrived.get(record.data["page_id"]):
            yield Violation("page missing", f"page {record.data['page_id']} was said to be sent and never arrived")
    yield from _unasked(history)


def _unasked(history: History) -> Iterator[Violation]:
    asked = {record.data["action_id"] for record in history.said("actions")}
    for lead, epoch, due, ended in reassignments(history):
        if not _excused(history, due, ended) and f"{lead}:{epoch}:{len(history.plan.ladder)}" not in asked:
            yield Violation("page missing", f"lead {lead}, epoch {epoch}: the rung that changes the owner never fired")


def reassignments(history: History) -> Iterator[tuple[str, int, float, float | None]]:
    """Yield each change of owner: lead, epoch, when it is due, when its ladder ended. Accepting does not end it."""
    for lead, records in history.routes.items():
        for place, record in enumerate(records):
            if record.type == "lead.assigned" and record.data.get("touched_at") is None:
                ends = (r for r in records[place + 1 :] if r.type != "lead.accepted" and _ends(r, record))
                ended = next((r.moment("at") for r in ends), None)
                yield lead, record.data["epoch"], _due(history, lead, record, records[place + 1 :])[-1], ended


def repeated(history: History) -> Iterator[Violation]:
    """Yield pages that arrived more often than the faults explain, and pages with two sent records."""
    for id, arrivals in history.arrived.items():
        excess = [pair for pair in pairwise(arrivals) if why_again(*pair, history.hits) is None]
        if excess:
            times = [f"{receipt.at:.2f} ({receipt.channel})" for receipt in arrivals]
            yield Violation(
                "too many deliveries", f"page {id}: arrived at {times}, {len(excess)} of them for no reason"
            )
    said = Counter(record.data["page_id"] for record in history.said("pages") if record.type == "page.sent")
    for id, times_said in said.items():
        if times_said > 1:
            yield Violation("applied twice", f"page {id} was said to be sent {times_said} times")


def why_again(earlier: Receipt, later: Receipt, hits: Sequence[Hit]) -> str | None:
    """Return the reason why a page arrived again: a lost answer, or a kill of a notifier or a restart of the database between
    the arrivals. A reason excuses one repeat, because each is between two arrivals."""
    if not earlier.answered:
        return "broken answer"
    for hit in hits:
        if hit.what == "slack hangs" and hit.start <= earlier.at <= hit.end + ASKED_SECONDS:
            return "broken answer"  # sent while Slack hung, and answered after the sender had given up
        ours = (hit.what == "kill" and hit.target.startswith("notifier")) or hit.what == "database restarted"
        if ours and hit.start <= later.at and hit.end + ON_THE_WIRE_SECONDS >= earlier.at:
            return hit.what
    return None


# --- time ---------------------------------------------------------------------------------------------------------


@dataclass
class Lateness:
    """The lateness of rungs in seconds: of all, and of those under at most one fault."""

    worst: float = 0.0
    worst_single: float = 0.0
    under: str = "no fault"  # the one fault of the latest of them
    judged: int = 0
    late: list[str] = field(default_factory=list)


def lateness(history: History) -> Lateness:
    """From when a rung is due to when the person first knew, or the change of owner was asked for.

    Single: between its time and its arrival there was no fault, or one (each with the time to recover from it).
    """
    found = Lateness()
    for name, due, told in _ways(history):
        late = told - due
        found.worst = max(found.worst, late)
        crossed = _crossed(history.hits, due, told)
        if len(crossed) <= 1:
            found.judged += 1
            under = ", ".join(sorted(crossed)) or "no fault"
            if late > found.worst_single:
                found.worst_single, found.under = late, under
            if late > LATE_SECONDS_MAX:
                found.late.append(f"{name}: {late:.1f} s late, under {under}")
    return found


def _ways(history: History) -> Iterator[tuple[str, float, float]]:
    """Yield each rung that came: its name, when it was due, and when the page arrived or the change was requested."""
    for rung in rungs(history):
        if rung.told is not None:
            yield str(rung), rung.due, rung.told
    asked = {record.data["action_id"]: record.moment("at") for record in history.said("actions")}
    for lead, epoch, due, _ in reassignments(history):
        told = asked.get(f"{lead}:{epoch}:{len(history.plan.ladder)}")
        if told is not None:
            yield f"change of owner (lead {lead}, epoch {epoch})", due, told


def _crossed(hits: Sequence[Hit], due: float, told: float) -> set[str]:
    """Return the faults between two moments. A rolling restart of any number of processes is one."""
    return {
        hit.what if hit.what == ROLLING else f"{hit.what} {hit.target} at {hit.start:.0f}"
        for hit in hits
        if hit.start <= told and hit.end + RECOVERY_SECONDS >= due
    }


def late(history: History) -> Iterator[Violation]:
    """Yield rungs that are more than 60 s late under at most one fault."""
    for one in lateness(history).late:
        yield Violation("late", one)


def early(history: History) -> Iterator[Violation]:
    """Yield rungs that came before the end of their span after the rung before."""
    for name, due, told in _ways(history):
        if told < due - EARLY_SECONDS_MAX:
            yield Violation("other", f"{name}: {due - told:.1f} s before its time")


def settled_seconds(history: History, calm: float) -> float:
    """Return the seconds from the end of the faults to the last effect of earlier events and due pages."""
    before = {id for id, at in history.acknowledged.items() if at <= calm}
    ours = {record.id for record in history.said("events") if record.data["source_id"] in before}
    moments = [record.at for record in history.said("leads") if _cause(record) in ours]
    moments += [record.at for record in history.said("routes") if _cause(record) in ours]
    moments += [rung.told for rung in rungs(history) if rung.told is not None and rung.due <= calm]
    return max([0.0, *(moment - calm for moment in moments)])


def _cause(record: TopicRecord) -> str | None:
    trigger = record.data.get("trigger")
    return trigger["event_id"] if trigger else record.data.get("event_id")


def owed(history: History) -> int:
    """Return how many rungs may still come: their ladder has not ended, and no page has arrived."""
    waiting = sum(rung.told is None and not rung.failed and rung.ended is None for rung in rungs(history))
    asked = {record.data["action_id"] for record in history.said("actions")}
    return waiting + sum(
        ended is None and f"{lead}:{epoch}:{len(history.plan.ladder)}" not in asked
        for lead, epoch, _, ended in reassignments(history)
    )


CHECKS: Final[tuple[Check, ...]] = (missing, repeated, early)
