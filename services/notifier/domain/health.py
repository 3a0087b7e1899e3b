"""The health of each channel, as observed by this process.

A channel is down after several failures in a row, or when the provider rejects every page of this installation. While it
is down, single pages probe it at intervals. Other pages use another channel or wait, so that the cost of an outage does
not depend on the number of pages. The health is kept in memory: a new process assumes that every channel is up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

DOWN_AFTER = 5
"""Failures in a row."""
REFUSALS_MAX = 20
PROBE_SECONDS_MAX = 15.0
"""The longest interval between two probes."""

Answer = Literal["accepted", "failed", "unusable"]


@dataclass
class Outage:
    """The outage of a channel: its start, its reason, and when a page may probe the channel. Real time."""

    since: datetime
    why: str
    try_at: datetime
    wait_seconds: float = 1.0


class RecipientRefusal(NamedTuple):
    """A person or a channel that a provider rejects: since when (real time), and why."""

    since: datetime
    why: str


@dataclass
class Refusals:
    """The recipients that a provider rejected, until it accepts a message to them. The oldest is forgotten at the limit."""

    _by_recipient: dict[tuple[str, str], RecipientRefusal] = field(default_factory=dict)  # by channel and recipient

    def record(self, channel: str, recipient: str, why: str | None, real: datetime) -> bool:
        """Record an answer; `why` None: accepted. Return whether the provider begins to reject this recipient."""
        key = channel, recipient
        if why is None:
            self._by_recipient.pop(key, None)
            return False
        before = self._by_recipient.pop(key, None)
        self._by_recipient[key] = RecipientRefusal(before.since if before else real, why)
        if len(self._by_recipient) > REFUSALS_MAX:
            del self._by_recipient[next(iter(self._by_recipient))]
        return before is None

    def lines(self) -> Iterator[str]:
        """Yield one line for each recipient that is rejected."""
        for (channel, recipient), refusal in sorted(self._by_recipient.items()):
            yield f"{channel} accepts no message to {recipient} since {refusal.since:%Y-%m-%d %H:%M} UTC: {refusal.why}"


@dataclass
class ChannelHealth:
    """The health of the channels that were used so far."""

    _in_a_row: dict[str, int] = field(default_factory=dict)
    _down: dict[str, Outage] = field(default_factory=dict)

    def up(self, channel: str) -> bool:
        """Return whether the channel is up."""
        return channel not in self._down

    def may(self, channel: str, real: datetime) -> bool:
        """Return whether a page may try this channel now."""
        down = self._down.get(channel)
        return down is None or real >= down.try_at

    def trying(self, channel: str, real: datetime) -> None:
        """Record that a page is being sent over this channel. If the channel is down, postpone the next probe."""
        down = self._down.get(channel)
        if down is not None:
            down.try_at = real + timedelta(seconds=down.wait_seconds)
            down.wait_seconds = min(down.wait_seconds * 2, PROBE_SECONDS_MAX)

    def record(
        self, channel: str, answer: Answer, why: str, real: datetime, after_seconds: float | None = None
    ) -> bool:
        """Record the answer of the channel. Return True if the channel has recovered.

        Args:
            why: Reason of a failure.
            after_seconds: The wait that the provider asked for; None: it asked for none.
        """
        if answer == "accepted":
            self._in_a_row.pop(channel, None)
            return self._down.pop(channel, None) is not None
        self._in_a_row[channel] = self._in_a_row.get(channel, 0) + 1
        down = self._down.get(channel)
        if down is None and (answer == "unusable" or self._in_a_row[channel] >= DOWN_AFTER):
            down = self._down[channel] = Outage(real, why, real + timedelta(seconds=1))
        if down is not None:
            down.why = why
            down.try_at = max(down.try_at, real + timedelta(seconds=after_seconds or 0.0))
        return False

    def set_back(self, real: datetime) -> None:
        """Allow a probe of every channel now: the host's clock was set back to `real`."""
        for down in self._down.values():
            down.try_at = min(down.try_at, real)

    def outages(self) -> Iterator[tuple[str, Outage]]:
        """Return the channels that are down."""
        yield from sorted(self._down.items())
