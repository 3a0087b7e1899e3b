"""The ladder of one assignment: when each rung is due, given when the pages of earlier rungs were accepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, cast

import msgspec

from firsthour.kernel.business_time import WorkingHours, due_after, working_time
from schemas.agreement.response import OWNER, Channel, Recipient, Rung

ON_TIME = timedelta(minutes=1)
"""The largest delay of a rung after which later rungs may still be cut to the end of the promise."""


@dataclass(frozen=True)
class Progress:
    """The progress of an assignment. The times of a page that is still being sent are None."""

    next_rung: int = 0
    fired_at: datetime | None = None  # when the rung before `next_rung` was reached
    rung_told_at: datetime | None = None  # when its page was accepted or ended otherwise; None: still being sent
    empty: bool = False  # that rung had no recipient, so the next one is due at once
    owner_at: datetime | None = None  # when a page to the owner was accepted, else when one ended otherwise
    owner_told: bool = True  # whether it was accepted


def later(hours: WorkingHours | None, start: datetime, span: timedelta) -> datetime:
    """Return the time at which this span has been counted since `start`. Hours that never come count every minute."""
    if hours is None:
        return start + span
    return due_after(hours, start, span) or start + span


def planned(rung: Rung, promise_at: datetime, assigned_at: datetime, hours: WorkingHours | None = None) -> datetime:
    """Return when a rung is due if the pages of all rungs before it are accepted without delay.

    Rungs count from the assignment. A rung after the end of the promise is due at that end, so that a person hears of a
    promise before it is broken. An assignment that begins after the end has its whole ladder.
    """
    due_at = later(hours, assigned_at, rung.at)
    return min(due_at, promise_at) if assigned_at < promise_at else due_at


def next_due(
    ladder: Sequence[Rung],
    promise_at: datetime,
    assigned_at: datetime,
    progress: Progress,
    hours: WorkingHours | None = None,
) -> datetime | None:
    """Return when the next rung is due; None: the ladder has ended, or the rung waits for a page that is being sent.

    A rung is due its span after the page of the rung before it was accepted. The owner is changed no sooner than that span
    after a page to the owner was accepted. While a page is being sent the owner is not changed. At the end of the promise,
    later pages no longer wait, so that a manager is paged even if the owner cannot be reached. A rung without a recipient
    is passed at once: it takes no time from the rungs after it.

    Args:
        hours: in which the times of the rungs count; None: every minute counts.
    """
    index = progress.next_rung
    if index >= len(ladder):
        return None
    rung = ladder[index]
    if index == 0:
        return planned(rung, promise_at, assigned_at, hours)

    def after(earlier: Rung, told_at: datetime) -> datetime:
        span, was_planned = rung.at - earlier.at, planned(earlier, promise_at, assigned_at, hours)
        if told_at - was_planned <= ON_TIME:  # the span is shorter if the end of the promise cuts one
            until = planned(rung, promise_at, assigned_at, hours)
            span = min(span, until - was_planned if hours is None else working_time(hours, was_planned, until))
        return later(hours, told_at, span)

    before, told_at = ladder[index - 1], progress.rung_told_at
    if told_at is None:
        if rung.reassign or progress.fired_at is None:
            return None
        return max(promise_at, later(hours, progress.fired_at, rung.at - before.at))
    due_at = told_at if progress.empty else after(before, told_at)
    first = next((earlier for earlier in ladder[:index] if earlier.page == OWNER), None)
    if not rung.reassign or first is None:
        return due_at
    if progress.owner_at is None:
        return None
    return max(due_at, after(first, progress.owner_at) if progress.owner_told else progress.owner_at)


def reminder_due(
    every: timedelta, started_at: datetime, progress: Progress, hours: WorkingHours | None = None
) -> datetime:
    """Return when the next reminder is due: its spacing after the page before it, whether or not that was accepted."""
    return later(hours, progress.rung_told_at or progress.fired_at or started_at, every)


# --- the stored form -----------------------------------------------------------------------------------------

_CACHED_LADDERS: Final = 64  # few ladders are in use at a time
_MICROSECOND: Final = timedelta(microseconds=1)


class _StoredRung(msgspec.Struct, array_like=True):
    """A rung as stored. `page` None: the rung changes the owner. `to` is absent in rows of older releases."""

    at: int  # microseconds
    page: str | None
    by: tuple[Channel, ...]
    to: str | None = None


@lru_cache(_CACHED_LADDERS)
def ladder_to_json(ladder: tuple[Rung, ...]) -> str:
    """Return the ladder as JSON."""
    rungs = [
        _StoredRung(rung.at // _MICROSECOND, rung.page, () if rung.reassign else rung.by, rung.to) for rung in ladder
    ]
    return msgspec.json.encode(rungs).decode()


@lru_cache(_CACHED_LADDERS)
def ladder_from_json(text: str) -> tuple[Rung, ...]:
    """Return the ladder of a text that `ladder_to_json` made."""
    return tuple(_rung(stored) for stored in msgspec.json.decode(text, type=list[_StoredRung]))


def _rung(stored: _StoredRung) -> Rung:
    at = timedelta(microseconds=stored.at)
    if stored.page is None:
        return Rung(at=at, reassign=True)
    # As it was accepted: a later release may refuse such a rung in a new agreement.
    return Rung.model_construct(at=at, page=cast(Recipient, stored.page), to=stored.to, by=stored.by)
