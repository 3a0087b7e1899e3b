"""The only clocks, and the only source of new ids.

*Business time* is the time of the agreement; `--speed` scales it.
*Real time* is for signatures, leases, timeouts and retries. Both are timezone-aware UTC.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from firsthour.kernel.time_units import EPOCH

SKEW_MAX = timedelta(seconds=30)
"""How far the clocks of a host and of the database may differ without a warning."""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_id() -> str:
    """Return a UUIDv7: unique, and approximately in the order of creation, which keeps indexes dense."""
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    chance = os.urandom(10).hex()
    return f"{stamp[:8]}-{stamp[8:]}-7{chance[:3]}-{_VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"


class Clock(Protocol):
    """The source of business and real time."""

    def business(self) -> datetime: ...

    def real(self) -> datetime: ...

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never set."""

    def real_seconds(self, business: timedelta) -> float:
        """Return the real seconds that this span of business time takes."""


@dataclass(frozen=True)
class HostClock:
    """The clock of the host. Business time runs `speed` times faster, beginning with `origin_business` at `origin_real`."""

    speed: float = 1.0
    origin_real: datetime = EPOCH
    origin_business: datetime = EPOCH

    def real(self) -> datetime:
        return datetime.now(UTC)

    def business(self) -> datetime:
        if self.speed == 1.0:
            return datetime.now(UTC)
        return self.origin_business + (datetime.now(UTC) - self.origin_real) * self.speed

    def monotonic(self) -> float:
        return time.monotonic()

    def real_seconds(self, business: timedelta) -> float:
        return business.total_seconds() / self.speed


class SharedClock:
    """The clock of the database. It is set regularly, and a monotonic clock continues it in between.

    So all processes agree, even if the clocks of hosts differ or jump. Before it is set, it is the clock of the host.
    """

    def __init__(self) -> None:
        self.set(datetime.now(UTC))

    def set(self, now: datetime) -> None:
        """Set the time to `now`."""
        self._then, self._monotonic = now, time.monotonic()

    def real(self) -> datetime:
        return self._then + timedelta(seconds=time.monotonic() - self._monotonic)

    def business(self) -> datetime:
        return self.real()

    def monotonic(self) -> float:
        return time.monotonic()

    def real_seconds(self, business: timedelta) -> float:
        return business.total_seconds()
