"""The answer that a vendor expects, where 202 with JSON does not do."""

from typing import Self

import msgspec


class FixedReply(msgspec.Struct, frozen=True):
    """Status, media type and body of an answer."""

    status: int
    media: str
    body: bytes

    @classmethod
    def json(cls, value: dict[str, str]) -> Self:
        """Return a reply with JSON."""
        return cls(200, "application/json", msgspec.json.encode(value))
