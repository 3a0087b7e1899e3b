"""Counts failed attempts per address in a bounded table."""

from dataclasses import dataclass, field
from math import ceil
from typing import Final

from firsthour.runtime.clock import Clock
from firsthour.runtime.http.client_address import network

ATTEMPTS_MAX: Final = 20
WINDOW_SECONDS: Final = 60.0
ADDRESSES_MAX: Final = 10_000


@dataclass
class Throttle:
    """Counts failures in windows of `WINDOW_SECONDS`. When the table is full, the oldest window is dropped."""

    clock: Clock
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)  # (end, failures), the oldest first

    def failed(self, address: str) -> int | None:
        """Count a failure. Return the seconds until the next window if there are too many. None: there are not."""
        now, source = self.clock.monotonic(), network(address)
        end, failures = self._windows.get(source, (0.0, 0))
        if now >= end:
            self._windows.pop(source, None)
            end, failures = now + WINDOW_SECONDS, 0
            if len(self._windows) >= ADDRESSES_MAX:
                del self._windows[next(iter(self._windows))]
        self._windows[source] = end, failures + 1
        return ceil(end - now) if failures >= ATTEMPTS_MAX else None
