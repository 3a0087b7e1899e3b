"""The protocol of a producer, and the failures of a broker."""

from collections.abc import Sequence
from typing import Final, Protocol

from firsthour.runtime.storage.records import Row
from schemas.errors import FirstHourError

SEND_SECONDS: Final = 2.0  # for which a request waits for the broker, including the time it is held back


class BrokerError(FirstHourError):
    """Raised when the broker did not acknowledge a record. It may have stored the record."""


class RecordRejectedError(BrokerError):
    """Raised when the broker rejects a record permanently. The records before it are acknowledged."""

    def __init__(self, reason: str, acknowledged: int = 0) -> None:
        super().__init__(f"the broker rejects the record permanently: {reason}")
        self.reason = reason
        self.acknowledged = acknowledged


class Producer(Protocol):
    """Sends rows to the broker."""

    async def send(self, rows: Sequence[Row], seconds: float = SEND_SECONDS) -> None:
        """Send the rows, and return once all replicas have acknowledged them.

        Rows of one key arrive in order: after a row that failed, no later row of its key is sent.

        Raises:
            BrokerError: within `seconds`; some of the rows may have arrived.
        """

    async def answers(self) -> bool:
        """Return whether the broker can be reached now."""
