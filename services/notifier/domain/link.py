"""Signed links: what a link says, how it becomes the token of an address, and how a token is read.

A token is 56 characters. It has the id of a page, which stands for a person and an assignment, one action, the time at which
it expires, and a number that makes it unique. It has no name and no address. Its signature has 128 bits, so that
guessing is hopeless at any rate.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import Final, Literal, NamedTuple
from uuid import UUID

LIFETIME: Final = timedelta(days=7)
"""The longest time for which a link acts. It ends earlier with the assignment."""
TOKEN_CHARS: Final = 56
KEY_BYTES: Final = 32

LinkAction = Literal["open", "accept", "reached", "no_answer", "reject", "snooze", "hand_over"]
"""The one thing that a link does. `open` shows the lead and does nothing."""
ACTIONS: Final[tuple[LinkAction, ...]] = ("open", "accept", "reached", "no_answer", "reject", "snooze", "hand_over")
"""The actions by their number in a token. A number never changes; new actions are appended."""

_BODY: Final = Struct(">BB16sII")  # number of the key, action, page, expiry in seconds, unique number
_SIGNATURE_BYTES: Final = 16
_PURPOSE: Final = b"firsthour link 1\0"


class Link(NamedTuple):
    """The content of a link."""

    action: LinkAction
    page_id: str  # of the page to the person whose link it is
    expires_at: datetime  # real time, whole seconds
    number: int  # makes each link unique: 32 random bits


class LinkKey(NamedTuple):
    """A key of signatures."""

    id: int
    secret: bytes
    created_at: datetime  # real time


def token_of(link: Link, key: LinkKey) -> str:
    """Return the signed token of a link."""
    body = _BODY.pack(
        key.id & 0xFF,
        ACTIONS.index(link.action),
        UUID(link.page_id).bytes,
        int(link.expires_at.timestamp()),
        link.number & 0xFFFF_FFFF,
    )
    return urlsafe_b64encode(body + _signature(body, key.secret)).decode()


def link_of(token: str, keys: Collection[LinkKey]) -> Link | None:
    """Return the content of a token; None: no key of this installation has signed it."""
    if len(token) != TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = urlsafe_b64decode(token)
    except ValueError:
        return None
    body, signature = raw[: _BODY.size], raw[_BODY.size :]
    if urlsafe_b64encode(raw).decode() != token or len(signature) != _SIGNATURE_BYTES:
        return None  # another spelling of the same bytes
    number, action, page, expires, unique = _BODY.unpack(body)
    signed = [hmac.compare_digest(signature, _signature(body, key.secret)) for key in keys if key.id & 0xFF == number]
    if not any(signed) or action >= len(ACTIONS):
        return None
    return Link(ACTIONS[action], str(UUID(bytes=page)), datetime.fromtimestamp(expires, UTC), unique)


def _signature(body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + body, sha256)[:_SIGNATURE_BYTES]
