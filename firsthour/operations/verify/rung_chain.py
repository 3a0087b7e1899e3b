"""Checks of the rungs of a lead: each that was reached has its page, and each page fits its rung."""

from collections.abc import Iterator, Sequence

from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import Snapshot
from schemas.agreement.response import Rung
from services.notifier.domain.cadence import FIRST_NUMBER
from services.notifier.domain.page import (
    HANDED_ON,
    LOST,
    MISSED,
    REFUSED,
    REQUEST_PAGES,
    TO_OWNER,
    WAITING,
    index_of,
    page_id,
    page_number,
)

Round = tuple[int, int]
"""An assignment, and the request of the person within it."""


def rungs_have_pages(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I5: each rung and reminder that the clock has passed has its page, also those of earlier assignments."""
    pages = {(row.epoch, row.rung) for row in rows.pages}
    passed: dict[Round, int] = {}  # number of rungs
    clock = rows.clock
    if clock is not None and clock.waiting_at is not None:
        for index in range(clock.next_rung):
            if (clock.epoch, page_number(clock.request, WAITING + index)) not in pages:
                yield f"lead {rows.id}: page {index} of a waiting lead was due, but is missing"
    elif clock is not None:
        passed[clock.epoch, clock.request] = clock.next_rung
    for event in rows.records.actions:
        number = _number_of(event.action_id, rows.id, event.epoch)
        if number is not None:
            key = event.epoch, number // REQUEST_PAGES
            passed[key] = max(passed.get(key, 0), index_of(number))
    for key, rungs in passed.items():
        by_ladder = [_rungs_without_page(ladder, key, rungs, pages) for ladder in _ladders(snapshot, rows, key)]
        for rung in min(by_ladder, key=len, default=[]):
            yield f"lead {rows.id}: rung {rung} of assignment {key[0]} was reached, but has no page"


def _ladders(snapshot: Snapshot, rows: LeadRows, key: Round) -> list[Sequence[Rung]]:
    """Return the ladder in the clock; for earlier assignments, every ladder that may have applied."""
    clock = rows.clock
    stored = clock.ladder if clock is not None else None
    if stored is not None and clock is not None and key == (clock.epoch, clock.request):
        return [stored]
    return [*([stored] if stored is not None else []), *(terms.ladder for terms in snapshot.configurations.terms)]


def _rungs_without_page(ladder: Sequence[Rung], key: Round, rungs: int, pages: set[tuple[int, int]]) -> list[int]:
    """Return the passed rungs and reminders without a page. A rung that changes the owner has none."""
    epoch, request = key
    paging = (n for n in range(rungs) if n >= len(ladder) or ladder[n].page)
    return [n for n in paging if (epoch, page_number(request, n)) not in pages]


def _number_of(action_id: str, lead: str, epoch: int) -> int | None:
    """Return the page number of the rung that requested the action; None if a person did."""
    rung = action_id.removeprefix(f"{lead}:{epoch}:")
    return int(rung) if rung != action_id and rung.isdecimal() else None


def pages_fit_ladder(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I5: the id of a page is made of its lead, assignment, rung and person, and its kind fits its rung."""
    for row in rows.pages:
        kinds = _kinds(snapshot, index_of(row.rung))
        if ("owner" if row.kind in TO_OWNER else row.kind) not in kinds:
            yield f"page {row.id}: no agreement has kind {row.kind} on rung {row.rung}"
        if row.id != page_id(row.lead_id, row.epoch, row.rung, row.person):
            yield f"page {row.id}: its id does not match its lead, assignment, rung and person"


def _kinds(snapshot: Snapshot, index: int) -> set[str | None]:
    """Return the kinds that the agreements give to a page of this index."""
    if index >= WAITING:
        if index >= REFUSED:
            return {"refused"}
        if index >= MISSED:
            return {{MISSED: "missed", LOST: "lost", HANDED_ON: "handed_on"}.get(index)}
        return {"next_attempt" if index >= FIRST_NUMBER else "reminder" if index > WAITING else "queued"}
    ladders = [terms.ladder for terms in snapshot.configurations.terms]
    return {ladder[index].page if index < len(ladder) else "reminder" for ladder in ladders}
