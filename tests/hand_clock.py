"""A clock that tests move by hand."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from firsthour.kernel.time_units import EPOCH


@dataclass
class HandClock:
    """Business and real time that move together when a test moves them."""

    now: datetime = field(default_factory=lambda: datetime(2026, 12, 1, 9, 0, tzinfo=UTC))
    drift: timedelta = timedelta(0)  # business minus real

    def real(self) -> datetime:
        return self.now

    def business(self) -> datetime:
        return self.now + self.drift

    def monotonic(self) -> float:
        return (self.now - EPOCH).total_seconds()

    def real_seconds(self, business: timedelta) -> float:
        return business.total_seconds()

    def advance(self, **by: float) -> None:
        """Move both times by the arguments of a timedelta: `advance(minutes=10)`."""
        self.now += timedelta(**by)
