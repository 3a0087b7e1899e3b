"""The ladder of one assignment: when each rung is due, given when the pages of earlier rungs were accepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from schemas.agreement.response import Channel, Rung

ON_TIME = timedelta(minutes=1)
"""The largest delay of a rung after which later rungs may still be cut to the end of the promise."""


@dataclass(frozen=True)
class Progress:
    """The progress of an assignment. The times of a page that is still being sent are None."""

    next_rung: int = 0
    fired_at: datetime | None = None  # when the rung before `next_rung` was reached
    rung_told_at: datetime | None = None  # when its page was accepted or ended otherwise; None: still being sent
    owner_at: datetime | None = None  # when a page to the owner was accepted, else when one ended otherwise


def planned(rung: Rung, promise_at: datetime, assigned_at: datetime) -> datetime:
    """Return when a rung is due if the pages of all rungs before it are accepted without delay.

    Rungs count from the assignment. A rung after the end of the promise is due at that end, so that a person hears of a
    promise before it is broken. An assignment that begins after the end has its whole ladder.
    """
    due_at = assigned_at + rung.at
    return min(due_at, promise_at) if assigned_at < promise_at else due_at


def next_due(
    ladder: Sequence[Rung], promise_at: datetime, assigned_at: datetime, progress: Progress
) -> datetime | None:
    """Return when the next rung is due; None: the ladder has ended, or the rung waits for a page that is being sent.

    A rung is due its span after the page of the rung before it was accepted. The owner is changed no sooner than that span
    after a page to the owner was accepted. While a page is being sent the owner is not changed. At the end of the promise,
    later pages no longer wait, so that a manager is paged even if the owner cannot be reached.
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
            span = planned(rung, promise_at, assigned_at) - was_planned  # shorter if the end of the promise cuts one
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


# --- the stored form -----------------------------------------------------------------------------------------

_CACHED_LADDERS: Final = 64  # few ladders are in use at a time
_MICROSECOND: Final = timedelta(microseconds=1)
_StoredRungs = list[tuple[int, str | None, tuple[Channel, ...]]]


@lru_cache(_CACHED_LADDERS)
def ladder_to_json(ladder: tuple[Rung, ...]) -> str:
    """Return the ladder as JSON: per rung its time in microseconds, the recipient (null: the rung changes the owner) and the channels."""
    rungs = [(rung.at // _MICROSECOND, rung.page, () if rung.reassign else rung.by) for rung in ladder]
    return msgspec.json.encode(rungs).decode()


@lru_cache(_CACHED_LADDERS)
def ladder_from_json(text: str) -> tuple[Rung, ...]:
    """Return the ladder of a text that `ladder_to_json` made."""
    return tuple(
        Rung(at=timedelta(microseconds=at), reassign=True)
        if page is None
        else Rung.model_validate({"at": timedelta(microseconds=at), "page": page, "by": list(by)})
        for at, page, by in msgspec.json.decode(text, type=_StoredRungs)
    )
