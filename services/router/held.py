"""The leads of bursts: held back in the queue, where others pass them, until their burst is released or dropped."""

from collections.abc import Collection
from typing import Any, Final, Literal, NamedTuple

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.burst import LeadBurst
from services.router.store.bursts import BurstChange, find_burst

BURST_TICK: Final = "router.bursts"
BY_SPREAD: Final = "spread"
"""Released because its requests came from several places."""


class BurstEnd(NamedTuple):
    """The end of a burst: its leads are routed, or leave Sales. `by` and `reason`: of a drop."""

    kind: Literal["released", "dropped"]
    by: str = ""
    reason: str = ""


class HeldBack:
    """The bursts of one unit, and their changes."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._known: dict[str, BurstEnd | None] = {}
        self._changes: dict[str, BurstChange] = {}

    @property
    def changes(self) -> Collection[BurstChange]:
        """The changes to store at the end of the unit."""
        return self._changes.values()

    def end(self, id: str) -> BurstEnd | None:
        """Return the end of a burst. None: its leads are held back."""
        if id not in self._known:
            row = find_burst(self._unit.connection, id)
            self._known[id] = None if row is None else _end(row)
        return self._known[id]

    def add(self, burst: LeadBurst, source: str) -> None:
        """Count a lead that is held back."""
        self._change(burst, source).leads += 1

    def release(self, id: str, by: str) -> None:
        """Release a burst. Its leads are routed by the tick `BURST_TICK`. A burst that was dropped stays so."""
        if self.end(id) is not None:
            return
        change = self._change(LeadBurst(id, ""), "")
        change.released_at, change.released_by = change.last_at, by
        self._known[id] = BurstEnd("released")
        self._unit.wake(BURST_TICK)

    def drop(self, id: str, by: str, reason: str) -> None:
        """Drop a burst. Its leads leave Sales by the tick `BURST_TICK`. Dropped again, leads that remained are tried again."""
        change = self._change(LeadBurst(id, ""), "")
        change.dropped_at, change.dropped_by, change.drop_reason = change.last_at, by, reason
        self._known[id] = BurstEnd("dropped", by, reason)
        self._unit.wake(BURST_TICK)

    def _change(self, burst: LeadBurst, source: str) -> BurstChange:
        now = micros(self._unit.now)
        return self._changes.setdefault(burst.id, BurstChange(burst.id, burst.label, source, now, now))


def _end(row: Any) -> BurstEnd | None:
    if row.dropped_at is not None:
        return BurstEnd("dropped", row.dropped_by, row.drop_reason)
    return BurstEnd("released") if row.released_at is not None else None
