"""The protocol of a channel and the outcomes of sending a page.

The outcome types separate temporary from permanent failure, so that the delivery does not interpret error texts.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.notifier.domain.message import Message
from services.notifier.domain.notice import Notice

TIMEOUT_SECONDS = 5.0
"""The real time that a channel may take for one page, with all steps."""
RETRY_AFTER_SECONDS_MAX = 300.0
"""The longest wait before the next try, even if the provider asks for a longer one."""


@dataclass(frozen=True)
class Sent:
    """The provider accepted the page. `provider_id`: the identifier that the provider gave the message."""

    provider_id: str


@dataclass(frozen=True)
class TryAgain:
    """Temporary failure; it is unknown whether the page arrived.

    `after_seconds`: the wait (real time) that the provider asked for. None: it asked for none.
    """

    after_seconds: float | None
    why: str


@dataclass(frozen=True)
class GiveUp:
    """Permanent failure for this person on this channel. `why` names the remedy, if there is one."""

    why: str


@dataclass(frozen=True)
class Unusable:
    """The provider rejects every page of this installation: an invalid token or login. `why` names the remedy."""

    why: str


@dataclass(frozen=True)
class Gone(Unusable):
    """The receiver wants nothing more, until a person enables it again."""


Outcome = Sent | TryAgain | GiveUp | Unusable


def outcome_name(outcome: Outcome) -> str:
    """Return the name of the outcome in metrics and attempts."""
    match outcome:
        case Sent():
            return "sent"
        case TryAgain():
            return "try_again"
        case GiveUp():
            return "gave_up"
        case Unusable():
            return "unusable"


class Channel(Protocol):
    """Sends pages to people. One instance serves the whole process and sends many pages concurrently."""

    @property
    def name(self) -> str:
        """The name of the channel in the agreement's `by:`."""

    async def send(self, message: Message) -> Outcome:
        """Send one page. Returns within `TIMEOUT_SECONDS` of real time and never raises for a failure of the provider.

        `why` of the outcome holds no personal data.
        """

    async def close(self) -> None:
        """Close connections. No page is sent afterwards."""


@runtime_checkable
class TeamChannel(Channel, Protocol):
    """A channel that can tell a team, too."""

    async def tell(self, notice: Notice) -> Outcome:
        """Send one notice to a team, as `send` sends a page."""
