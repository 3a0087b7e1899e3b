"""The slots of each destination: a destination that hangs uses up its own slots, and never those of another.

A destination is a channel of the agreement, as in the `by:` of a rung. Each has its own slots and its own health.
"""

from collections import Counter
from dataclasses import dataclass, field

SENDING_AT_ONCE = 64  # pages sent to one destination concurrently


@dataclass
class Bulkhead:
    """The pages that are being sent to each destination. A page has its slot until its outcome is recorded."""

    closed: bool = True  # no page is claimed: there is no delivery, or it is stopping
    _sending: Counter[str] = field(default_factory=Counter)

    def began(self, destination: str) -> None:
        """Take a slot."""
        self._sending[destination] += 1

    def ended(self, destination: str) -> bool:
        """Free a slot. Return whether the destination had none left."""
        was_full = self._sending[destination] >= SENDING_AT_ONCE
        self._sending[destination] -= 1
        return was_full

    def slots(self) -> "Slots":
        """Return the free slots for one unit. Also called from the writer's thread: an estimate is sufficient."""
        return Slots(self.closed, Counter(self._sending))


@dataclass
class Slots:
    """The free slots as one unit sees them: claims of the unit itself use them up."""

    closed: bool
    _used: Counter[str]

    def has(self, destination: str) -> bool:
        """Return whether the destination has a free slot."""
        return not self.closed and self._used[destination] < SENDING_AT_ONCE

    def take(self, destination: str) -> None:
        """Take a slot."""
        self._used[destination] += 1

    def full(self) -> list[str]:
        """Return the destinations without a free slot."""
        return sorted(name for name, used in self._used.items() if used >= SENDING_AT_ONCE)
