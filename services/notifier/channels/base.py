"""What a channel is given, what it answers, and what it promises.

The result type tells "for now" from "for good", so that whoever delivers never has to read an error text.
"""

from dataclasses import dataclass
from typing import Protocol

from services.notifier.domain.message import Message

TIMEOUT_SECONDS = 5.0
"""Real time a channel may take for one page, all steps together."""
RETRY_AFTER_SECONDS_MAX = 300.0
"""However long the other side asks us to wait."""


@dataclass(frozen=True)
class Sent:
    """The other side accepted the page. `provider_id` is its name for it."""

    provider_id: str


@dataclass(frozen=True)
class TryAgain:
    """Not now; it may or may not have arrived. `after_seconds` (real) when the other side said how long to wait."""

    after_seconds: float | None
    why: str


@dataclass(frozen=True)
class GiveUp:
    """Not to this person over this channel, however often it is tried. `why` names the remedy where there is one."""

    why: str


@dataclass(frozen=True)
class Unusable:
    """The other side refuses us, whoever the page is for: a token or a login that does not hold. `why` names the remedy."""

    why: str


Outcome = Sent | TryAgain | GiveUp | Unusable


class Channel(Protocol):
    """A way to a person. One instance lives as long as the process and sends many pages at once."""

    @property
    def name(self) -> str:
        """How the agreement's `by:` calls it."""

    async def send(self, message: Message) -> Outcome:
        """Answers within `TIMEOUT_SECONDS` of real time, and never raises for trouble with the other side.
        `why` holds no personal data."""

    async def close(self) -> None:
        """Give back connections; nothing is sent afterwards."""
