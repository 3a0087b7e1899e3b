"""Whether each channel accepts pages at all, as this process finds it.

A channel that refused several pages in a row, or refuses us whoever a page is for, is down. Then one page in a while
tries it, and the others go by another channel or wait, so that an outage costs the same however many pages wait.
In memory: a process that starts takes every channel for well until it has tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

DOWN_AFTER = 5
"""Refusals in a row."""
PROBE_SECONDS_MAX = 15.0

Answer = Literal["well", "not_now", "refuses_us"]


@dataclass
class Outage:
    """Since when a channel is down, why, and when a page may try it again. Real time."""

    since: datetime
    why: str
    try_at: datetime
    wait_seconds: float = 1.0


@dataclass
class ChannelHealth:
    """The channels that were tried."""

    _in_a_row: dict[str, int] = field(default_factory=dict)
    _down: dict[str, Outage] = field(default_factory=dict)

    def up(self, channel: str) -> bool:
        return channel not in self._down

    def may(self, channel: str, real: datetime) -> bool:
        """Return whether a page may try this channel now."""
        down = self._down.get(channel)
        return down is None or real >= down.try_at

    def trying(self, channel: str, real: datetime) -> None:
        """A page is on its way over this channel: while it is down, the next one comes later."""
        down = self._down.get(channel)
        if down is not None:
            down.try_at = real + timedelta(seconds=down.wait_seconds)
            down.wait_seconds = min(down.wait_seconds * 2, PROBE_SECONDS_MAX)

    def noted(self, channel: str, answer: Answer, why: str, real: datetime, after_seconds: float | None = None) -> bool:
        """Take in what the channel answered; True when it is up again."""
        if answer == "well":
            self._in_a_row.pop(channel, None)
            return self._down.pop(channel, None) is not None
        self._in_a_row[channel] = self._in_a_row.get(channel, 0) + 1
        down = self._down.get(channel)
        if down is None and (answer == "refuses_us" or self._in_a_row[channel] >= DOWN_AFTER):
            down = self._down[channel] = Outage(real, why, real + timedelta(seconds=1))
        if down is not None:
            down.why = why
            down.try_at = max(down.try_at, real + timedelta(seconds=after_seconds or 0.0))
        return False

    def set_back(self, real: datetime) -> None:
        """Let every channel be tried now: the host's clock was set back to `real`."""
        for down in self._down.values():
            down.try_at = min(down.try_at, real)

    def troubles(self) -> Iterator[tuple[str, Outage]]:
        """The channels that are down."""
        yield from sorted(self._down.items())
