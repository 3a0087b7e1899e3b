"""Identifies the sender of a request by its API key.

The hashes of the keys are kept in memory, and are read again after every change and every few seconds. Checking a key
therefore costs one hash and one look-up.
"""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from fastapi import Request

from firsthour.runtime.clock import Clock
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.http.key_store import Key, digest, list_keys
from firsthour.runtime.http.principal import READ, ROLES, Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.throttle import Throttle
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.reader import Reader

AGE_WARNING_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5
UNSTORED_KEYS: Final = ("given", "local")
"""The names of the admin key of the settings, and of the token of the process."""
CALLER: Final = "firsthour.caller"
"""The key, in the scope of a request, of the principal for whom this process sends it. No client can set it."""
SENDER: Final = "firsthour.sender"
"""The key, in the scope of a request, of the principal whose role an endpoint has examined."""


@dataclass
class Keys:
    """The keys in force, in memory.

    Attributes:
        admin_key: The admin key of the settings.
        local_token: The token of this process. The command line reads it from the data directory.
        is_active_rep: Returns whether a rep is an active member of the team. The key of any other rep is refused.
        age_seconds_max: If the stored keys were read longer ago than this, they are refused. None: there is no bound.
        used: The last uses that are not stored yet, by the id of the key.
        read_at: When the stored keys were read. None: never.
    """

    clock: Clock
    admin_key: str | None = None
    local_token: str | None = None
    is_active_rep: Callable[[str], bool] = lambda rep: True
    age_seconds_max: float | None = None
    used: dict[str, datetime] = field(default_factory=dict)
    read_at: datetime | None = None
    _by_hash: dict[str, tuple[Key, Principal]] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _throttle: Throttle = field(init=False)

    def __post_init__(self) -> None:
        self._throttle = Throttle(self.clock)

    async def refresh(self, reader: Reader) -> list[Key]:
        """Read the stored keys, and return them. Raises `StorageError`.

        Reads do not overlap. Otherwise an older read that ends later would drop a key that was created in between.
        """
        async with self._reading:
            read_at = self.clock.real()
            keys = await reader(list_keys)
            self.replace(keys, read_at)
            return keys

    def replace(self, keys: list[Key], read_at: datetime | None = None) -> None:
        """Replace the stored keys by `keys`, which were read at `read_at`. None: now."""
        self._by_hash = {key.hash: (key, Principal(key.id, key.name, key.role, key.rep, key.source)) for key in keys}
        now = self.clock.real()
        self.read_at = min(read_at or now, now)  # the clock may have been ahead at the time of reading

    def has_valid(self, id: str) -> bool:
        """Return whether the stored key with this id is still accepted. `given`, `local`: the keys of the process."""
        if id in ("given", "local"):
            return (self.admin_key if id == "given" else self.local_token) is not None
        now = self.clock.real()
        return any(
            key.id == id and key.is_valid(now) and (key.rep is None or self.is_active_rep(key.rep))
            for key, _ in self._by_hash.values()
        )

    def _age(self, now: datetime) -> float:
        """Return the seconds since the stored keys were read; infinity before the first read."""
        return float("inf") if self.read_at is None else (now - self.read_at).total_seconds()

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings of `/readyz` about old keys."""
        age = self._age(self.clock.real())
        if self.age_seconds_max is not None and age > self.age_seconds_max:
            state = "never read" if self.read_at is None else f"read {age:.0f} s ago"
            return (f"stored keys are too old ({state}): requests with a key are answered 503",)
        if self.read_at is not None and age > AGE_WARNING_SECONDS:
            return (f"keys were read {age:.0f} s ago: a key that was revoked since is still accepted",)
        return ()

    def find(self, authorization: str) -> Principal | None:
        """Return the principal of this `Authorization` header. None: it has no valid key.

        Raises:
            Problem: 503 if the stored keys are too old.
        """
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        key = key.strip()
        for name, token in zip(UNSTORED_KEYS, (self.admin_key, self.local_token), strict=True):
            if token is not None and hmac.compare_digest(key.encode(), token.encode()):
                return Principal(name, name, "admin")
        now = self.clock.real()
        if self.age_seconds_max is not None and self._age(now) > self.age_seconds_max:
            raise Problem(
                503,
                "Keys unavailable",
                "The database is unreachable, and the keys in memory are too old. Send the request again later.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        entry = self._by_hash.get(digest(key))
        if entry is None:
            return None
        stored, principal = entry
        if not stored.is_valid(now) or (stored.rep is not None and not self.is_active_rep(stored.rep)):
            return None
        self.used[stored.id] = now
        return principal

    def identify(self, authorization: str, address: str) -> Principal:
        """Return the principal of this `Authorization` header from this address.

        A valid key is never throttled, because other senders may share its address.

        Raises:
            Problem: 401 without a valid key, 429 after too many invalid keys from the address, 503 as in `find`.
        """
        principal = self.find(authorization)
        if principal is not None:
            return principal
        wait = self._throttle.failed(address) if authorization else None
        if wait is not None:
            raise Problem(
                429,
                "",
                "Too many invalid keys came from this address. Send a valid key: `firsthour keys create` makes one.",
                headers={"Retry-After": str(wait)},
            )
        raise Problem(
            401,
            "",
            "Send `Authorization: Bearer <key>` with a valid key: `firsthour keys create` makes one.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def keys_of(settings: Settings, clock: Clock, configs: Configs) -> Keys:
    """Return the keys of this installation. The stored keys are not read yet."""
    admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
    return Keys(clock, admin_key, is_active_rep=active_reps(configs), age_seconds_max=settings.keys_age_seconds_max)


def active_reps(configs: Configs) -> Callable[[str], bool]:
    """Return a function that tells whether a rep is an active member of the current team."""

    def is_active_rep(rep: str) -> bool:
        member = configs.current.team.rep_by_id.get(rep)
        return member is not None and member.active

    return is_active_rep


def require(principal: Principal, right: str) -> None:
    """Raise `Problem` 403 if the principal does not have this right."""
    if not principal.allows(right):
        lowest = "marketing or sales" if right == READ else right
        raise Problem(
            403, "", f"This needs the role {lowest}; the key {principal.name!r} has the role {principal.role}."
        )


def caller_of(request: Request) -> Principal | None:
    """Return the principal for whom this process itself sends the request. None: a client sent it."""
    caller = request.scope.get(CALLER)
    return caller if isinstance(caller, Principal) else None


def principal_of(request: Request) -> Principal:
    """Return the principal of this request: the caller in this process, else that of its key in `app.state.keys`.

    Raises as `Keys.identify` does.
    """
    caller = caller_of(request)
    if caller is not None:
        return caller
    keys: Keys = request.app.state.keys
    address = request.client.host if request.client else ""
    return keys.identify(request.headers.get("authorization", ""), address)


def needs(right: str) -> Callable[[Request], Principal]:
    """Return a dependency that returns the principal if it has this right. It raises `Problem` 401 or 403."""
    if not any(right in rights for rights in ROLES.values()):
        raise ValueError(f"no role has the right {right!r}; use a right of `ROLES`")

    def check(request: Request) -> Principal:
        principal = request.scope[SENDER] = principal_of(request)
        require(principal, right)
        return principal

    return check
