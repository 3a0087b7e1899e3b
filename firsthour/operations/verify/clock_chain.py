"""Checks of a lead's clock, pages and attempts: the clock agrees with the records, the pages with the clock, the attempts
with the pages.

The clock is replayed by the notifier's own rules. Several agreements may have been in force while it ran, so a time is
right if any of these agreements gives it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.verify.lead_history import LeadRows
from firsthour.operations.verify.snapshot import OVERDUE, Snapshot
from schemas.agreement.response import ALWAYS
from schemas.events.pages import PageFailed, PageSent
from services.notifier.domain.clock import COUNTED, ResponseClock, due_at
from services.notifier.domain.clock_events import hear
from services.notifier.domain.counting import HELD_MAX, promise_end
from services.notifier.domain.next_page import last_number
from services.notifier.domain.page import TO_OWNER, WAITING, index_of, page_number
from services.notifier.recording import ATTEMPTS_KEPT_MAX

OUTCOMES: Final = frozenset({"sent", "try_again", "gave_up", "unusable", "unknown"})

_REPLAYED: Final = (
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
    "pool",
    "request",
    "waiting_at",
    "card",
    "attempts",
    "attempted_at",
    "talked_at",
)
"""The fields of a clock that follow from the records alone."""

_decode_channels = msgspec.json.Decoder(tuple[str, ...]).decode


# --- I4 ---------------------------------------------------------------------------------------------------------------


def clock_matches_history(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I4: the clock equals its replay from the lead's records, and an agreement gives its times."""
    stored, moves = rows.clock, rows.records.moves
    if not moves or rows.partial or rows.id in snapshot.out_of_order:
        return
    if rows.lead is None or moves[-1][2].version != rows.lead.version:
        return
    replayed: ResponseClock | None = None
    for _, _, event in moves:
        terms = snapshot.configurations.terms_at(micros(event.at))
        replayed = hear(replayed, event, terms, event.at).clock
    if replayed is None or stored is None:
        is_untouched = rows.lead.status in COUNTED and rows.lead.touched_at is None
        if replayed is not None and not is_untouched:  # `row_checks` reports the missing clock of an untouched lead
            yield f"lead {rows.id}: its clock is missing"
        elif stored is not None:
            yield f"lead {rows.id}: has a clock, but was never handed over"
        return
    for name in _REPLAYED:
        if getattr(stored, name) != getattr(replayed, name):
            yield f"lead {rows.id}: {name} of its clock differs from its records"
    if stored.running != replayed.running or (not replayed.running and stored.state != replayed.state):
        yield f"lead {rows.id}: its clock is {stored.state}, but its records give {replayed.state}"
    yield from _check_times(snapshot, rows, stored)


def _check_times(snapshot: Snapshot, rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    all_terms = snapshot.configurations.terms
    yield from _check_promise(snapshot, rows, clock)
    if clock.due_at not in {due_at(clock, terms) for terms in all_terms}:
        yield f"lead {rows.id}: no agreement makes its clock due at {clock.due_at}"
    if (clock.state == "missed") > (clock.missed_at is not None) or (clock.state == "live") > (clock.missed_at is None):
        yield f"lead {rows.id}: its clock is {clock.state}, but its missed_at is {clock.missed_at}"
    if clock.missed_at is not None and clock.missed_at < clock.promise_at:
        yield f"lead {rows.id}: its clock was missed before the promise ended"
    if clock.due_at is not None and snapshot.is_overdue(clock.due_at, OVERDUE):
        yield f"lead {rows.id}: its clock was due at {clock.due_at}, but nothing happened"
    yield from _check_ladder(snapshot, rows, clock)
    recorded = {(event.submit_at, event.at) for event in rows.records.promises_missed}
    if snapshot.history_covers(clock.missed_at) and (clock.submit_at, clock.missed_at) not in recorded:
        yield f"lead {rows.id}: its promise was missed at {clock.missed_at}, but has no record"


def _check_promise(snapshot: Snapshot, rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    """Compute the end of the promise again, from the promise at the start of the clock and the calendars of now."""
    promises = [terms.promise(clock.urgency) for terms in snapshot.configurations.terms]
    started = {(promise.touch_within, promise.counted_in) for promise in promises}
    if clock.counted_from is None:  # an older release counted every minute, regardless of `counted_in`
        started |= {(promise.touch_within, ALWAYS) for promise in promises}
    if (clock.touch_within, clock.counted_in) not in started:
        yield f"lead {rows.id}: no agreement promises {clock.touch_within}, counted in {clock.counted_in!r}"
    yield from _check_counted(rows, clock)
    yield from _check_pauses(snapshot, rows, clock)
    if clock.state != "live":
        return
    leave = snapshot.configurations.leave
    if clock.counted_in == ALWAYS or (
        clock.hours_revision == leave.revision and snapshot.configurations.counts_by_newest
    ):
        now = snapshot.configurations.terms_at(micros(snapshot.clock.business()))
        if clock.promise_at != promise_end(clock, now):
            yield f"lead {rows.id}: its promise ends at {clock.promise_at}, but its calendar gives {promise_end(clock, now)}"
    elif snapshot.is_waiting_since(leave.changed_at):
        yield f"lead {rows.id}: its clock was not counted anew after calendars or leave changed"


def _check_counted(rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    """Check the time that the clock has counted so far."""
    start = clock.counted_from or clock.submit_at
    passed = max(timedelta(), start - clock.submit_at)
    if not timedelta() <= clock.worked <= passed:
        yield f"lead {rows.id}: its clock counted {clock.worked} in the {passed} since the submit"
    if clock.counted_in == ALWAYS and not clock.pauses:
        if clock.worked != passed or (passed and clock.touched_at is None and clock.running):
            yield f"lead {rows.id}: its clock counted {clock.worked} until {start}, but every minute counts"
        if clock.promise_at != clock.submit_at + clock.touch_within:
            yield f"lead {rows.id}: its promise ends at {clock.promise_at}, but lasts {clock.touch_within}"


def _check_pauses(snapshot: Snapshot, rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    """Check that pauses follow each other, and take no more than an agreement allows."""
    at, used = micros(clock.submit_at), dict[str, int]()
    for pause in clock.pauses:
        if not at <= pause.start < pause.end:
            yield f"lead {rows.id}: a pause of its clock is out of order"
        at = pause.end
        used[pause.kind] = used.get(pause.kind, 0) + pause.end - pause.start
    held = timedelta(microseconds=used.pop("held_back", 0))
    if held > HELD_MAX:
        yield f"lead {rows.id}: its clock stood still for {held} with a burst"
    for kind, total in used.items():
        limits = [terms.pauses.get(kind, timedelta()) for terms in snapshot.configurations.terms]
        if timedelta(microseconds=total) > max(limits, default=timedelta()):
            yield f"lead {rows.id}: pauses ({kind}) took {timedelta(microseconds=total)} from its clock"


def _check_ladder(snapshot: Snapshot, rows: LeadRows, clock: ResponseClock) -> Iterator[str]:
    """Compare the ladder of a clock with the agreements, and the page times in a running clock with its pages."""
    if clock.ladder is None:
        return
    if clock.ladder not in {tuple(terms.ladder) for terms in snapshot.configurations.terms}:
        yield f"lead {rows.id}: no agreement has the ladder of its clock"
    if clock.follow_up not in {None, *(terms.follow_up for terms in snapshot.configurations.terms)}:
        yield f"lead {rows.id}: no agreement has the reminders of its clock"
    if not clock.running or clock.rep is None:
        return
    pages = [row for row in rows.pages if row.epoch == clock.epoch and index_of(row.rung) < WAITING]
    of_request = [row for row in pages if row.rung >= page_number(clock.request, 0)]
    owner_pages = [row for row in of_request if row.kind in TO_OWNER and row.person == clock.rep]
    sent_at = {row.sent_at for row in owner_pages if row.state == "sent"}
    if _micros(clock.told_at) not in (sent_at or {None}) and not _knows_otherwise(clock):
        yield f"lead {rows.id}: its clock notes the owner's page at {clock.told_at}, but its pages do not match"
    untold_at = clock.untold_at
    if untold_at is not None and all(row.state in ("sent", "sending") and not row.refusals for row in owner_pages):
        yield f"lead {rows.id}: its clock notes an undelivered page at {untold_at}, but its pages have none"
    last = [row for row in pages if row.rung == last_number(clock)]
    for row in pages:
        if row in last and len(last) > 1 and row.state != "cancelled":
            continue  # the page of a person who was not there was passed on: the clock notes when
        if row in last:
            yield from _check_last_page(rows, clock, row)
        elif row.state == "pending" and row.person in _later_recipients(pages, row.rung):
            yield f"lead {rows.id}: page {row.id} is pending, but the same person has a later page"


def _knows_otherwise(clock: ResponseClock) -> bool:
    """Return whether the owner knows of the lead without a page: they accepted it, or recorded an attempt."""
    return clock.accepted or clock.attempts > 0


def _check_last_page(rows: LeadRows, clock: ResponseClock, row: Any) -> Iterator[str]:
    """Compare the clock with the page of the rung reached last."""
    if _micros(clock.fired_at) != row.created_at:
        yield f"lead {rows.id}: its clock reached rung {row.rung} at {clock.fired_at}, but its page has another time"
    told_at = _micros(clock.rung_told_at)
    if told_at is None and row.state not in ("pending", "sending"):
        yield f"lead {rows.id}: its clock waits for page {row.id}, which is {row.state}"
    elif row.state == "sent" and told_at != row.sent_at and not _knows_otherwise(clock) and not row.refusals:
        yield f"lead {rows.id}: its clock notes the page of rung {row.rung} at {clock.rung_told_at}, but the page differs"


def _later_recipients(pages: Sequence[Any], rung: int) -> set[str]:
    """Return the recipients of pages of later rungs that were not cancelled."""
    return {row.person for row in pages if row.rung > rung and row.state != "cancelled"}


# --- I6 ---------------------------------------------------------------------------------------------------------------


def pages_match_history(snapshot: Snapshot, rows: LeadRows) -> Iterator[str]:
    """Check I6: the records and the row of each page agree, and its attempts are complete."""
    pages = {row.id: row for row in rows.pages}
    recorded = {*rows.records.sent, *rows.records.failed}
    events: tuple[PageSent | PageFailed, ...] = (*rows.records.sent.values(), *rows.records.failed.values())
    for event in events:
        row = pages.get(event.page_id)
        if row is None:
            yield f"page {event.page_id}: is in the history, but its row is missing"
        elif not _page_matches(row, event):
            yield f"page {event.page_id}: {row.state}, but its record differs"
    for row in rows.pages:
        if row.state == "sent":
            must_be_recorded = snapshot.history_covers(_moment(row.sent_at))
        else:
            must_be_recorded = row.state == "failed" and snapshot.history_current
        if must_be_recorded and row.id not in recorded and not rows.partial:
            yield f"page {row.id}: {row.state}, but has no record"
        yield from _check_attempts(row, rows.attempts[row.id])


def _page_matches(row: Any, event: PageSent | PageFailed) -> bool:
    if (row.lead_id, row.epoch, row.rung, row.person) != (event.lead_id, event.epoch, event.rung, event.person):
        return False
    channels = _decode_channels(row.channels)
    if isinstance(event, PageFailed):
        return bool((row.state == "failed" or row.refusals > 0) and channels == event.tried)
    channel = channels[row.channel_index % len(channels)]
    return bool(
        (row.state, channel, row.deliveries, row.sent_at) == ("sent", event.channel, event.tries, micros(event.at))
    )


def _check_attempts(row: Any, attempts: list[Any]) -> Iterator[str]:
    """Check that each finished delivery has its attempt."""
    numbers = sorted(attempt.n for attempt in attempts)
    finished = row.deliveries - (row.state == "sending")
    if numbers != list(range(1, min(finished, ATTEMPTS_KEPT_MAX) + 1)):
        yield f"page {row.id}: has {row.deliveries} deliveries, but attempts {numbers}"
    channels = _decode_channels(row.channels)
    for attempt in attempts:
        if attempt.outcome not in OUTCOMES or attempt.channel not in channels:
            yield f"page {row.id}: attempt {attempt.n} has an unknown outcome, or a channel that the page lacks"
    refused = row.deliveries - (row.state in ("sending", "sent"))
    if row.channel_index < 0 or (len(channels) == 1 and row.channel_index > refused):
        yield f"page {row.id}: on channel {row.channel_index}, but no refusal moved it there"
    last = min(row.deliveries, ATTEMPTS_KEPT_MAX)
    if row.state == "sent" and not any(attempt.n == last and attempt.outcome == "sent" for attempt in attempts):
        yield f"page {row.id}: sent, but no attempt sent it"


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else moment(us)
