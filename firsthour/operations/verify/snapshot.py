"""One snapshot of the database, with the values that several checks of `verify` share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, Final

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.configurations import Configurations
from firsthour.operations.verify.progress import ConsumerProgress
from firsthour.operations.verify.queries import Queries
from firsthour.operations.verify.unsettled import unsettled_leads
from firsthour.runtime.clock import Clock, HostClock
from services.reporting.handlers import HISTORY_DAYS
from services.router.domain.lead import CUSTOMER, OPPORTUNITY
from services.router.domain.rotation import Rotations
from services.router.store.decisions import find_inputs

UNIT_DURATION_MAX: Final = timedelta(seconds=5)
"""How long a unit of another process may take from reading its clock to its commit."""
OVERDUE: Final = timedelta(seconds=60)
"""How long past its moment a clock or a page may wait while a process runs that acts on it."""
IN_CRM: Final = frozenset({OPPORTUNITY, CUSTOMER})
"""Statuses after the hand-over to the CRM, which may set them on a lead without an owner."""

_REPEATED_LEADS: Final = """
    SELECT DISTINCT lead_id FROM dead_letters
    JOIN reporting_history ON reporting_history.id = dead_letters.source WHERE lead_id IS NOT NULL"""
_TIMES_IN_ORDER: Final = "SELECT at FROM reporting_history WHERE topic <> 'events' AND position > 0 ORDER BY position"
"""The times of our own records, in the order of their creation. A record read from a dead letter has position 0."""


@dataclass
class Snapshot(Queries):
    """One snapshot. `since`, `alive_since`, `all_read`: the arguments of `verify.run`."""

    clock: Clock
    since: datetime | None = None
    alive_since: datetime | None = None
    all_read: bool = True

    @cached_property
    def configurations(self) -> Configurations:
        """The configurations that have been in force."""
        return Configurations(self)

    @cached_property
    def rotations(self) -> Rotations:
        """The turns that decisions rest on."""
        return Rotations(partial(find_inputs, self.connection))

    @cached_property
    def progress(self) -> ConsumerProgress:
        """The progress of each consumer."""
        return ConsumerProgress(self)

    # --- which leads and times are judged ---

    @cached_property
    def unsettled(self) -> set[str]:
        """The leads that are not judged."""
        since = self.since
        if since is not None and self.distributed:
            since -= UNIT_DURATION_MAX
        since_us = None if since is None else micros(since)
        return unsettled_leads(self, self.progress, since=since_us, all_read=self.all_read)

    def settled(self, rows: Sequence[Any]) -> Iterator[Any]:
        """Yield the rows whose lead is judged."""
        return (row for row in rows if row.lead_id not in self.unsettled)

    @cached_property
    def out_of_order(self) -> set[str]:
        """The leads of which a service handled a record late: from a dead letter."""
        return {row.lead_id for row in self.ask(_REPEATED_LEADS)}

    @property
    def history_complete(self) -> bool:
        """Whether the history holds every record of the leads that are judged."""
        return self.all_read or not self.distributed

    @property
    def history_current(self) -> bool:
        """Whether the history also holds every record made after `since`."""
        return self.history_complete and (self.since is None or not self.distributed)

    def history_covers(self, at: datetime | None) -> bool:
        """Return whether the history holds the records of that moment (business time); False for None."""
        if at is None or not self.history_complete:
            return False
        return self.history_current or self.since is None or at < self.since - UNIT_DURATION_MAX

    @cached_property
    def history_start(self) -> int:
        """The moment (business microseconds) from which on no record has been removed from the history."""
        return micros(self.clock.business() - timedelta(days=HISTORY_DAYS - 1))

    def is_overdue(self, at: datetime, grace: timedelta) -> bool:
        """Return whether that moment (business time) has passed by more than `grace` while a process could act on it."""
        real, slack = self.clock.real(), grace * self.speed
        alive = self.alive_since is not None and self.alive_since < real - grace
        return alive and at < self.clock.business() - slack

    def is_waiting_since(self, real_us: int) -> bool:
        """Return whether work that is due since this real time should have been done by a running process."""
        overdue = self.clock.real() - OVERDUE
        return self.alive_since is not None and self.alive_since < overdue and real_us < micros(overdue)

    # --- time ---

    @cached_property
    def speed(self) -> float:
        """The speed of business time, as a multiple of real time."""
        return 1.0 / max(self.clock.real_seconds(timedelta(seconds=1)), 1e-9)

    @cached_property
    def _now_us(self) -> tuple[int, int]:
        return micros(self.clock.business()), micros(self.clock.real())

    def is_ambiguous(self, at: int) -> bool:
        """Return whether the host's clock showed that moment (business microseconds) twice, since it was set back.

        Then only the order of the records tells which came first. A distributed installation uses the clock of the
        database, and this is False.
        """
        return any(low <= at <= high for low, high in self._ambiguous_times)

    @cached_property
    def _ambiguous_times(self) -> list[tuple[int, int]]:
        lowest: dict[int, int] = {}  # by the newest moment before the clock was set back
        newest = 0
        for row in self.stream(_TIMES_IN_ORDER) if not self.distributed else ():
            if row.at < newest:
                lowest[newest] = min(row.at, lowest.get(newest, row.at))
            newest = max(newest, row.at)
        return [(low, high) for high, low in lowest.items()]

    def business_us(self, real_us: int) -> int | None:
        """Return the business time at a real time; None if the clock may have run at another speed then."""
        if isinstance(self.clock, HostClock) and self.speed != 1.0 and real_us < micros(self.clock.origin_real):
            return None
        business, real = self._now_us
        return business - round((real - real_us) * self.speed)
