"""The ladder of one assignment: which rung comes when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.agreement import Rung


@dataclass(frozen=True)
class RungDue:
    """Rung number `index` of the agreement's ladder, and the moment it comes."""

    index: int
    due_at: datetime
    rung: Rung


def plan(ladder: Sequence[Rung], promise_at: datetime, assigned_at: datetime) -> tuple[RungDue, ...]:
    """When each rung of an assignment comes.

    Rungs count from the assignment; one that would come after the promise ends comes at its end, so that nobody first
    hears of a promise when it is broken. An assignment that began after that end has its whole ladder.
    """
    return tuple(RungDue(index, _clamped(assigned_at, rung, promise_at), rung) for index, rung in enumerate(ladder))


def _clamped(assigned_at: datetime, rung: Rung, promise_at: datetime) -> datetime:
    due_at = assigned_at + rung.at
    return min(due_at, promise_at) if assigned_at < promise_at else due_at
