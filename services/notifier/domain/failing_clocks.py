"""Clocks that raised an error: each is left out for a while, so that it holds up no other."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

LEFT_OUT: Final = timedelta(minutes=1)
"""Real time after which a clock is tried again."""
FAILING_MAX: Final = 100
"""With more of them, the code is broken and not a clock: the error then stops the timers, which `/readyz` reports."""


@dataclass
class FailingClocks:
    """The clocks of this process that raised an error, by lead."""

    _failed: dict[str, tuple[datetime, str]] = field(
        default_factory=dict
    )  # when (real time), and the type of the error

    def left_out(self, real: datetime) -> frozenset[str]:
        """Return the leads whose clocks are not tried now."""
        return frozenset(lead for lead, (at, _) in self._failed.items() if abs(real - at) < LEFT_OUT)

    def record(self, lead_id: str, error: Exception, real: datetime) -> None:
        """Remember the error of a clock. Raises it if too many clocks fail."""
        if lead_id not in self._failed and len(self._failed) >= FAILING_MAX:
            raise error
        self._failed[lead_id] = real, type(error).__name__

    def succeeded(self, lead_ids: set[str], real: datetime) -> None:
        """Forget earlier errors of these clocks: they were handled at this moment, unless they have failed at it."""
        for lead_id in self._failed.keys() & lead_ids:
            if self._failed[lead_id][0] != real:
                del self._failed[lead_id]

    def lines(self) -> list[str]:
        """Return the warning about these clocks, if there are any."""
        if not self._failed:
            return []
        lead, (_, error) = next(iter(self._failed.items()))
        count = f"{len(self._failed)} clocks" if len(self._failed) > 1 else "a clock"
        return [
            f"{count} cannot be handled, for example that of lead {lead} ({error}); the log has the place in the code"
        ]
