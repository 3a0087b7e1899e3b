"""The end of a lead's chain: its clock follows from the records, its pages from the clock, attempts from the pages.

The clock is told again by the notifier's own rules. Several agreements may have been in force while it ran, so a moment
that any of them gives is right.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final

import msgspec

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import OVERDUE, Snapshot
from schemas.agreement.response import Rung
from schemas.events.pages import PageFailed, PageSent
from services.notifier.domain.clock import COUNTED, ResponseClock, due_at
from services.notifier.domain.clock_events import hear
from services.notifier.domain.page import TO_OWNER, page_id
from services.notifier.recording import ATTEMPTS_KEPT_MAX

OUTCOMES: Final = frozenset({"sent", "try_again", "gave_up", "unusable", "unknown"})

_FOLLOWS: Final = (
    "version",
    "epoch",
    "rep",
    "urgency",
    "submit_at",
    "assigned_at",
    "touched_at",
    "opted_out",
    "accepted",
    "reassignments",
    "rep_version",
    "card",
)
"""The fields of a clock that follow from the records alone."""

_channels = msgspec.json.Decoder(tuple[str, ...]).decode


# --- I4 ---------------------------------------------------------------------------------------------------------------


def clock_follows(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I4. The clock is the one that the records of the lead make, and is due when submit, agreement and ladder say."""
    stored, moves = rows.clock, rows.told.moves
    if not moves or rows.partial or rows.id in case.retold:
        return
    if rows.lead is None or moves[-1][2].version != rows.lead.version:
        return
    told: ResponseClock | None = None
    for _, _, event in moves:
        told = hear(told, event, case.terms_at(micros(event.at)), event.at).clock
    if told is None or stored is None:
        if told is not None and not (
            rows.lead.status in COUNTED and rows.lead.touched_at is None
        ):  # else named already
            yield f"lead {rows.id}: its clock is missing"
        elif stored is not None:
            yield f"lead {rows.id}: has a clock, and was never handed over"
        return
    for name in _FOLLOWS:
        if getattr(stored, name) != getattr(told, name):
            yield f"lead {rows.id}: {name} of its clock is not what its records make of it"
    if stored.running != told.running or (not told.running and stored.state != told.state):
        yield f"lead {rows.id}: its clock is {stored.state}, its records make it {told.state}"
    yield from _timed(case, rows, stored)


def _timed(case: Snapshot, rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    if clock.promise_at not in {terms.promise_at(clock.urgency, clock.submit_at) for terms in case.terms}:
        yield f"lead {rows.id}: the promise of its clock ends at {clock.promise_at}, which no agreement gives"
    if clock.due_at not in {due_at(clock, terms) for terms in case.terms}:
        yield f"lead {rows.id}: its clock is due at {clock.due_at}, which no agreement gives"
    if (clock.state == "missed") > (clock.missed_at is not None) or (clock.state == "live") > (clock.missed_at is None):
        yield f"lead {rows.id}: its clock is {clock.state}, missed at {clock.missed_at}"
    if clock.missed_at is not None and clock.missed_at < clock.promise_at:
        yield f"lead {rows.id}: its clock was missed before the promise ended"
    if clock.due_at is not None and case.is_overdue(clock.due_at, OVERDUE):
        yield f"lead {rows.id}: its clock was due at {clock.due_at}, and nothing happened"
    yield from _told(case, rows, clock)
    told = {(one.submit_at, one.at) for one in rows.told.missed}
    if case.is_told_of(clock.missed_at) and (clock.submit_at, clock.missed_at) not in told:
        yield f"lead {rows.id}: its promise was missed at {clock.missed_at}, and no record tells of it"


def _told(case: Snapshot, rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    """The moments at which a running clock has people told are those of its pages."""
    if clock.ladder is None:
        return
    if clock.ladder not in {tuple(terms.ladder) for terms in case.terms}:
        yield f"lead {rows.id}: its clock has a ladder of no agreement"
    if not clock.running or clock.rep is None:
        return
    pages = [row for row in rows.pages if row.epoch == clock.epoch]
    hers = [row for row in pages if row.kind in TO_OWNER and row.person == clock.rep]
    sent = {row.sent_at for row in hers if row.state == "sent"}
    told, untold = _micros(clock.told_at), clock.untold_at
    if told not in (sent or {None}) and not clock.accepted:
        yield f"lead {rows.id}: its clock has the owner told at {clock.told_at}, its pages do not"
    if untold is not None and all(row.state in ("sent", "sending") and not row.refusals for row in hers):
        yield f"lead {rows.id}: its clock has a page ended untold at {untold}, and none did"
    for row in pages:
        if row.rung == clock.next_rung - 1:
            yield from _last(rows, clock, row)
        elif row.state == "pending" and row.person in _later(pages, row.rung):
            yield f"lead {rows.id}: page {row.id} waits beside a later one to the same person"


def _last(rows: LeadRows, clock: ResponseClock, row: Any) -> Iterator[str]:
    """The page of the rung that was reached last."""
    if _micros(clock.fired_at) != row.created_at:
        yield f"lead {rows.id}: its clock reached rung {row.rung} at {clock.fired_at}, the page is of another moment"
    told = _micros(clock.rung_told_at)
    if told is None and row.state not in ("pending", "sending"):
        yield f"lead {rows.id}: its clock waits for page {row.id}, which is {row.state}"
    elif row.state == "sent" and told != row.sent_at and not clock.accepted and not row.refusals:
        yield f"lead {rows.id}: its clock has rung {row.rung} told at {clock.rung_told_at}, the page does not"


def _later(pages: Sequence[Any], rung: int) -> set[str]:
    """To whom later pages go that were not cancelled."""
    return {row.person for row in pages if row.rung > rung and row.state != "cancelled"}


# --- I5 ---------------------------------------------------------------------------------------------------------------


def rungs_have_pages(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I5. Each rung that the clock has passed has its page, also each before the rung that asked for another owner."""
    there = {(row.epoch, row.rung) for row in rows.pages}
    passed: dict[int, int] = {}
    if rows.clock is not None:
        passed[rows.clock.epoch] = rows.clock.next_rung
    for asked in rows.told.asked:
        rung = _rung_of(asked.action_id, rows.id, asked.epoch)
        if rung is not None:
            passed[asked.epoch] = max(passed.get(asked.epoch, 0), rung)
    for epoch, rungs in passed.items():
        lacks = [_lacking(ladder, epoch, rungs, there) for ladder in _ladders(case, rows, epoch)]
        for rung in min(lacks, key=len, default=[]):
            yield f"lead {rows.id}: rung {rung} of assignment {epoch} was reached, and has no page"


def _ladders(case: Snapshot, rows: LeadRows, epoch: int) -> list[Sequence[Rung]]:
    """The ladder that the clock keeps; of an assignment before it, any."""
    kept = rows.clock.ladder if rows.clock is not None else None
    if kept is not None and rows.clock is not None and epoch == rows.clock.epoch:
        return [kept]
    return [*([kept] if kept is not None else []), *(terms.ladder for terms in case.terms)]


def _lacking(ladder: Sequence[Rung], epoch: int, rungs: int, there: set[tuple[int, int]]) -> list[int]:
    if rungs > len(ladder):
        return list(range(rungs))
    return [n for n, rung in enumerate(ladder[:rungs]) if rung.page and (epoch, n) not in there]


def _rung_of(action_id: str, lead: str, epoch: int) -> int | None:
    """The number of the rung that asked; None when a person did."""
    rung = action_id.removeprefix(f"{lead}:{epoch}:")
    return int(rung) if rung != action_id and rung.isdecimal() else None


def pages_are_ours(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I5. A page has the id of its lead, assignment, rung and person, and is of a kind that a ladder has."""
    for row in rows.pages:
        if (row.kind == "manager") not in _to_managers(case, row.rung) or row.kind not in (*TO_OWNER, "manager"):
            yield f"page {row.id}: {row.kind}, which its rung is under no agreement"
        if row.id != page_id(row.lead_id, row.epoch, row.rung, row.person):
            yield f"page {row.id}: its id is not that of its lead, assignment, rung and person"


def _to_managers(case: Snapshot, rung: int) -> set[bool]:
    """Whether that rung is for the manager, under each agreement that has it."""
    ladders = (terms.ladder for terms in case.terms)
    return {ladder[rung].page == "manager" for ladder in ladders if rung < len(ladder)}


# --- I6 ---------------------------------------------------------------------------------------------------------------


def pages_are_told(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I6. The history and the row of a page say the same of it; attempts are counted."""
    pages = {row.id: row for row in rows.pages}
    told = {*rows.told.sent, *rows.told.failed}
    for id, said in chain[tuple[str, PageSent | PageFailed]](rows.told.sent.items(), rows.told.failed.items()):
        row = pages.get(id)
        if row is None:
            yield f"page {id}: is missing, the history tells of it"
        elif not _fits(row, said):
            yield f"page {id}: {row.state}, which is not what the history tells"
    for row in rows.pages:
        due = case.is_told_of(_moment(row.sent_at)) if row.state == "sent" else case.all_told and row.state == "failed"
        if due and row.id not in told and not rows.partial:
            yield f"page {row.id}: {row.state}, and no record tells of it"
        yield from _attempted(row, rows.attempts[row.id])


def _fits(row: Any, said: PageSent | PageFailed) -> bool:
    if (row.lead_id, row.epoch, row.rung, row.person) != (said.lead_id, said.epoch, said.rung, said.person):
        return False
    if isinstance(said, PageFailed):
        return bool((row.state == "failed" or row.refusals > 0) and _channels(row.channels) == said.tried)
    channels = _channels(row.channels)
    channel = channels[row.channel_index % len(channels)]
    return bool(
        (row.state, channel, row.deliveries, row.sent_at) == ("sent", said.channel, said.tries, micros(said.at))
    )


def _attempted(row: Any, attempts: list[Any]) -> Iterator[str]:
    """Each delivery but the one under way has its attempt."""
    numbers = sorted(one.n for one in attempts)
    done = row.deliveries - (row.state == "sending")
    if numbers != list(range(1, min(done, ATTEMPTS_KEPT_MAX) + 1)):
        yield f"page {row.id}: {row.deliveries} deliveries, attempts {numbers}"
    for one in attempts:
        if one.outcome not in OUTCOMES or one.channel not in _channels(row.channels):
            yield f"page {row.id}: attempt {one.n} is none of its own"
    refused = row.deliveries - (row.state in ("sending", "sent"))
    if row.channel_index < 0 or (len(_channels(row.channels)) == 1 and row.channel_index > refused):
        yield f"page {row.id}: on channel {row.channel_index}, which no refusal put it on"
    last = min(row.deliveries, ATTEMPTS_KEPT_MAX)
    if row.state == "sent" and not any(one.n == last and one.outcome == "sent" for one in attempts):
        yield f"page {row.id}: sent, and no attempt says so"


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else moment(us)
