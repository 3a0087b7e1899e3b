"""The keys that sign links, in the memory of a process.

They are stored in the database, so that a gateway accepts what a notifier has signed. A new key is made every 30 days. An
old key is removed once all links that it has signed have expired.
"""

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import Final

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import StorageError, Unit
from services.notifier.domain.link import KEY_BYTES, LIFETIME, Link, LinkKey, link_of
from services.notifier.store.link_keys import add_link_key, list_link_keys, remove_link_key

SIGNS_FOR: Final = timedelta(days=30)
"""How long a key signs. It is accepted for `LIFETIME` longer, and an hour for clocks that differ."""
KEPT_FOR: Final = SIGNS_FOR + LIFETIME + timedelta(hours=1)
READ_SECONDS: Final = 600.0
"""The age at which the keys are read again."""
LOOK_SECONDS: Final = 1.0
"""The shortest interval between two reads that unknown tokens cause: guesses do not load the database."""


class LinkKeys:
    """The keys of links. `signing` makes the first one, and a new one when the newest is old."""

    def __init__(self, resources: Resources) -> None:
        self._units, self._reads, self._clock = resources.units, resources.reads, resources.clock
        self._keys: tuple[LinkKey, ...] = ()
        self._read_at: float | None = None  # monotonic; None: never
        self._reading = asyncio.Lock()

    async def signing(self) -> LinkKey:
        """Return the key that signs now. Raises `StorageError`."""
        if self._is_fresh():
            return self._keys[-1]
        async with self._reading:
            try:
                await self._renew()
            except StorageError:
                if not self._keys:
                    raise  # a key in memory signs on: links of before stay valid
        return self._keys[-1]

    def _is_fresh(self) -> bool:
        return bool(self._keys) and self._age() <= READ_SECONDS

    async def _renew(self) -> None:
        """Read the keys, and replace the newest one if it is old."""
        if self._is_fresh():
            return
        await self._read()
        now = self._clock.real()
        if not self._keys or now - self._keys[-1].created_at > SIGNS_FOR:
            await self._units.run(lambda unit: rotate(unit, now))
            await self._read()

    async def link(self, token: str) -> Link | None:
        """Return the content of a token; None: it was not signed by a key of this installation. Raises `StorageError`."""
        if self._age() > READ_SECONDS or (link_of(token, self._keys) is None and self._age() > LOOK_SECONDS):
            async with self._reading:
                if self._age() > LOOK_SECONDS:
                    await self._read()
        return link_of(token, self._keys)

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock.monotonic() - self._read_at

    async def _read(self) -> None:
        self._keys = await self._reads(list_link_keys)
        self._read_at = self._clock.monotonic()


def rotate(unit: Unit, now: datetime) -> None:
    """Store a new key, and remove those whose links have all expired. Another process may have stored the new one."""
    keys = list_link_keys(unit.connection)
    if keys and now - keys[-1].created_at <= SIGNS_FOR:
        return
    add_link_key(unit.connection, LinkKey(keys[-1].id + 1 if keys else 1, secrets.token_bytes(KEY_BYTES), now))
    for key in keys:
        if now - key.created_at > KEPT_FOR:
            remove_link_key(unit.connection, key.id)
