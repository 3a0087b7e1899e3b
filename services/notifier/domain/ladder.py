"""The ladder of one assignment: which rung comes when, given when the rungs before it were told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from schemas.agreement.response import Channel, Rung

ON_TIME = timedelta(minutes=1)
"""How late a rung may be told and still leave the end of the promise to the rungs after it."""


@dataclass(frozen=True)
class Progress:
    """How far an assignment has come. A page on its way has neither been told nor ended."""

    next_rung: int = 0
    fired_at: datetime | None = None  # when the rung before `next_rung` was reached
    rung_told_at: datetime | None = None  # when that rung was told, or ended otherwise; None: its page is on its way
    owner_at: datetime | None = None  # when the owner was told; else when a page to the owner ended otherwise


def planned(rung: Rung, promise_at: datetime, assigned_at: datetime) -> datetime:
    """Return when a rung comes if every rung before it is told at once.

    Rungs count from the assignment. A rung that would come after the promise ends comes at its end, so that the first
    news of a promise is not that it is broken. An assignment that began after that end has its whole ladder.
    """
    due_at = assigned_at + rung.at
    return min(due_at, promise_at) if assigned_at < promise_at else due_at


def next_due(
    ladder: Sequence[Rung], promise_at: datetime, assigned_at: datetime, progress: Progress
) -> datetime | None:
    """Return when the next rung comes; None when there is none, or when it waits for a page on its way.

    A rung comes its span after the rung before it was told. The owner is changed no sooner than that span after the owner
    was told. While a page is on its way the owner is not changed; only the end of the promise lets later pages go on, so
    that a manager hears of it although the owner cannot be reached.
    """
    index = progress.next_rung
    if index >= len(ladder):
        return None
    rung, due_at = ladder[index], planned(ladder[index], promise_at, assigned_at)
    if index == 0:
        return due_at

    def after(earlier: Rung, told_at: datetime) -> datetime:
        span, was_planned = rung.at - earlier.at, planned(earlier, promise_at, assigned_at)
        if told_at - was_planned <= ON_TIME:
            span = planned(rung, promise_at, assigned_at) - was_planned  # less where the promise's end cuts both
        return told_at + span

    before = ladder[index - 1]
    if progress.rung_told_at is not None:
        due_at = max(due_at, after(before, progress.rung_told_at))
    elif rung.reassign or progress.fired_at is None:
        return None
    else:
        return max(due_at, promise_at, progress.fired_at + (rung.at - before.at))
    if not rung.reassign:
        return due_at
    first = next((earlier for earlier in ladder[:index] if earlier.page == "owner"), None)
    if first is None:
        return due_at
    return max(due_at, after(first, progress.owner_at)) if progress.owner_at is not None else None


# --- as a clock keeps it -----------------------------------------------------------------------------------------

_KEPT: Final = 64  # few ladders are in use at a time
_MICROSECOND: Final = timedelta(microseconds=1)
_Kept = list[tuple[int, str | None, tuple[Channel, ...]]]


@lru_cache(_KEPT)
def written(ladder: tuple[Rung, ...]) -> str:
    """Return the ladder as text: of each rung its microseconds, whom it pages (none: it changes the owner), and by what."""
    rungs = [(rung.at // _MICROSECOND, rung.page, () if rung.reassign else rung.by) for rung in ladder]
    return msgspec.json.encode(rungs).decode()


@lru_cache(_KEPT)
def read(text: str) -> tuple[Rung, ...]:
    """Return the ladder that was written so."""
    return tuple(
        Rung(at=timedelta(microseconds=at), reassign=True)
        if page is None
        else Rung.model_validate({"at": timedelta(microseconds=at), "page": page, "by": list(by)})
        for at, page, by in msgspec.json.decode(text, type=_Kept)
    )
