"""The leads of bursts: held back in the queue, where others pass them, until their burst is released."""

from collections.abc import Collection
from typing import Final

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.burst import LeadBurst
from services.router.store.bursts import BurstChange, released

BURST_TICK: Final = "router.bursts"
BY_SPREAD: Final = "spread"
"""Released because its requests came from several places."""


class HeldBack:
    """The bursts of one unit, and their changes."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._known: dict[str, bool] = {}  # whether each burst is released
        self._changes: dict[str, BurstChange] = {}

    @property
    def changes(self) -> Collection[BurstChange]:
        """The changes to store at the end of the unit."""
        return self._changes.values()

    def holds(self, burst: LeadBurst) -> bool:
        """Return whether the leads of this burst are held back."""
        if burst.id not in self._known:
            self._known[burst.id] = bool(released(self._unit.connection, [burst.id]))
        return not self._known[burst.id]

    def add(self, burst: LeadBurst, source: str) -> None:
        """Count a lead that is held back."""
        self._change(burst, source).leads += 1

    def release(self, id: str, by: str) -> None:
        """Release a burst. Its leads are routed by the tick `BURST_TICK`."""
        change = self._change(LeadBurst(id, ""), "")
        change.released_at, change.released_by = change.last_at, by
        self._known[id] = True
        self._unit.wake(BURST_TICK)

    def _change(self, burst: LeadBurst, source: str) -> BurstChange:
        now = micros(self._unit.now)
        return self._changes.setdefault(burst.id, BurstChange(burst.id, burst.label, source, now, now))
