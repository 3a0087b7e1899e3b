"""API keys and roles. A key has 256 random bits, is shown once, and is stored as a hash with its expiry and last use.

Hashes are kept in memory, refreshed from the table after every change and every few seconds, so checking a key costs one
hash and one look-up. A key is `fh_<id>_<secret>`: the id is not secret, and names the key in lists and logs.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import Clock
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.throttle import Throttle
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.reader import Reader

AGE_WARNING_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5

READ: Final = "read"
"""The right of every role except `ingest`: read leads, metrics and the details of readiness, and opt a person out."""

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "ingest": frozenset({"ingest"}),
    "marketing": frozenset({"ingest", READ, "marketing"}),
    "sales": frozenset({"ingest", READ, "sales"}),
    "manager": frozenset({"ingest", READ, "marketing", "sales", "manager"}),
    "admin": frozenset({"ingest", READ, "marketing", "sales", "manager", "admin"}),
}
"""The rights of each role: `ingest` < `marketing`, `sales` < `manager` < `admin`. `ingest` may only write events."""

api_keys = sa.Table(
    "api_keys",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("name", statements.Text, nullable=False),
    sa.Column("role", statements.Text, nullable=False),
    sa.Column("rep", statements.Text),  # the key acts as this rep
    sa.Column("source", statements.Text),  # the key sends events for this source of sources.yaml
    sa.Column("hash", statements.Text, nullable=False),  # sha256 hex: a random key does not need a slow hash
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("expires_at", statements.Integer),
    sa.Column("revoked_at", statements.Integer),
    sa.Column("used_at", statements.Integer),
)

_ALL = statements.Sql(lambda _: sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
_ADD = statements.Sql(lambda _: sa.insert(api_keys).values({c.name: sa.bindparam(c.name) for c in api_keys.columns}))
_REVOKE = statements.Sql(
    lambda _: (
        sa.update(api_keys)
        .where(api_keys.c.id == sa.bindparam("key"), api_keys.c.revoked_at.is_(None))
        .values(revoked_at=sa.bindparam("revoked_at"))
    )
)
_LOCK = statements.Sql(
    lambda f: (
        sa.select(api_keys.c.id).where(f.is_any_of(api_keys.c.id, "keys")).order_by(api_keys.c.id).with_for_update()
    )
)
_USED = statements.Sql(
    lambda _: sa.update(api_keys).where(api_keys.c.id == sa.bindparam("key")).values(used_at=sa.bindparam("used_at"))
)


@dataclass(frozen=True)
class Principal:
    """The sender of a request. `rep`: the key acts as this rep. `source`: it may send the types of this source of
    sources.yaml."""

    id: str
    name: str
    role: str
    rep: str | None = None
    source: str | None = None

    def allows(self, needed: str) -> bool:
        """Return whether the role has the right `needed`."""
        return needed in ROLES[self.role]

    @property
    def actor(self) -> str:
        """The name of the principal in records."""
        return f"rep:{self.rep}" if self.rep else f"key:{self.name}"

    def may_act_for(self, rep: str | None) -> bool:
        """Return whether the principal may act for this owner: as the rep, or as a manager or admin."""
        return (rep is not None and rep == self.rep) or self.allows("manager")


@dataclass(frozen=True)
class Key:
    """A key without its secret."""

    id: str
    name: str
    role: str
    rep: str | None
    hash: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    source: str | None = None

    def lives(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create(
    connection: Connection,
    *,
    name: str,
    role: str,
    rep: str | None,
    now: datetime,
    expires_at: datetime | None = None,
    source: str | None = None,
) -> tuple[str, str]:
    """Create a key. Return its id and the key, which cannot be read again. Raises `ValueError` for an unknown role."""
    if role not in ROLES:
        raise ValueError(f"unknown role {role!r}: one of {', '.join(ROLES)}")
    id = secrets.token_hex(6)
    key = f"fh_{id}_{secrets.token_urlsafe(32)}"
    _ADD.run(
        connection,
        id=id,
        name=name,
        role=role,
        rep=rep,
        source=source,
        hash=digest(key),
        created_at=micros(now),
        expires_at=micros(expires_at) if expires_at else None,
        revoked_at=None,
        used_at=None,
    )
    return id, key


def revoke(connection: Connection, id: str, now: datetime) -> bool:
    """Revoke a key. Return False if there is no such key in force."""
    return _REVOKE.run(connection, key=id, revoked_at=micros(now)) == 1


def listed(connection: Connection) -> list[Key]:
    """Return every key, the oldest first."""
    return [
        Key(
            row.id,
            row.name,
            row.role,
            row.rep,
            row.hash,
            moment(row.created_at),
            _at(row.expires_at),
            _at(row.revoked_at),
            _at(row.used_at),
            row.source,
        )
        for row in _ALL.all(connection)
    ]


def note_use(connection: Connection, used: Mapping[str, datetime]) -> None:
    """Store the last use of keys. The rows are locked in one order first: every gateway does this every few seconds."""
    _LOCK.all(connection, keys=sorted(used))
    _USED.many(connection, [{"key": id, "used_at": micros(at)} for id, at in used.items()])


def digest(key: str) -> str:
    """Return the hash of a key, which is stored."""
    return sha256(key.encode()).hexdigest()


def _at(us: int | None) -> datetime | None:
    return None if us is None else moment(us)


@dataclass
class Keys:
    """The keys in force, in memory.

    Attributes:
        given: the admin key of the settings.
        local: the token of this process, which the command line reads from the data directory.
        works: returns whether a rep is an active member of the team; the key of another rep is refused.
        age_seconds_max: keys of the table are used for so long after they were read; None: without a bound.
        used: the last use of each key, by id, that is not stored yet.
        read_at: when the keys of the table were read; None: never.
    """

    clock: Clock
    given: str | None = None
    local: str | None = None
    works: Callable[[str], bool] = lambda rep: True
    age_seconds_max: float | None = None
    used: dict[str, datetime] = field(default_factory=dict)
    read_at: datetime | None = None
    _by_hash: dict[str, tuple[Key, Principal]] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _throttle: Throttle = field(init=False)

    def __post_init__(self) -> None:
        self._throttle = Throttle(self.clock)

    async def refresh(self, reads: Reader) -> list[Key]:
        """Read the keys from the table, and return them. Raises `StorageError`.

        Reads do not overlap: an older read that ends later would drop a key created in between.
        """
        async with self._reading:
            began = self.clock.real()
            keys = await reads(listed)
            self.take(keys, began)
            return keys

    def take(self, keys: list[Key], read_at: datetime | None = None) -> None:
        """Replace the keys by those read at `read_at`; None: now."""
        self._by_hash = {key.hash: (key, Principal(key.id, key.name, key.role, key.rep, key.source)) for key in keys}
        now = self.clock.real()
        self.read_at = min(read_at or now, now)  # a clock that was fast at that time must not make them younger

    def _age(self, now: datetime) -> float:
        """The seconds since the keys were read; infinite before the first read."""
        return float("inf") if self.read_at is None else (now - self.read_at).total_seconds()

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings of readiness about keys that could not be read for a while."""
        age = self._age(self.clock.real())
        if self.age_seconds_max is not None and age > self.age_seconds_max:
            state = "never read" if self.read_at is None else f"read {age:.0f} s ago"
            return (f"keys are not known ({state}): requests with a key are answered 503",)
        if self.read_at is not None and age > AGE_WARNING_SECONDS:
            return (f"keys were read {age:.0f} s ago: a key that was revoked since is still accepted",)
        return ()

    def find(self, authorization: str) -> Principal | None:
        """Return the principal of this `Authorization` header; None without a key in force.

        Raises `Problem` 503 when the keys are too old.
        """
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        key = key.strip()
        for name, token in (("given", self.given), ("local", self.local)):
            if token is not None and hmac.compare_digest(key.encode(), token.encode()):
                return Principal(name, name, "admin")
        now = self.clock.real()
        if self.age_seconds_max is not None and self._age(now) > self.age_seconds_max:
            raise Problem(
                503,
                "Keys unavailable",
                "The database cannot be reached, and the keys that were read last are too old. Send the same again later.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        entry = self._by_hash.get(digest(key))
        if entry is None:
            return None
        known, who = entry
        if not known.lives(now) or (known.rep is not None and not self.works(known.rep)):
            return None
        self.used[known.id] = now
        return who

    def identify(self, authorization: str, address: str) -> Principal:
        """Return the principal of this `Authorization` header from this address.

        A valid key is never throttled, because other senders may share its address.

        Raises:
            Problem: 401 without a valid key, 429 after too many invalid ones from the address, 503 as `find`.
        """
        who = self.find(authorization)
        if who is not None:
            return who
        wait = self._throttle.failed(address) if authorization else None
        if wait is not None:
            raise Problem(
                429,
                "",
                "Too many invalid keys came from this address. Send a valid key: `firsthour keys list`.",
                headers={"Retry-After": str(wait)},
            )
        raise Problem(
            401,
            "",
            "Send `Authorization: Bearer <key>` with a valid key: `firsthour keys list` shows the keys.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def keys_of(settings: Settings, clock: Clock, configs: Configs) -> Keys:
    """Return the keys of this installation; those of the table are not read yet."""
    given = settings.admin_key.get_secret_value() if settings.admin_key else None
    return Keys(clock, given, works=working(configs), age_seconds_max=settings.keys_age_seconds_max)


def working(configs: Configs) -> Callable[[str], bool]:
    """Return a function: whether a rep is an active member of the team, by the configuration in force."""

    def works(rep: str) -> bool:
        known = configs.current.team.rep_by_id.get(rep)
        return known is not None and known.active

    return works


def require(who: Principal, needed: str) -> None:
    """Raise `Problem` 403 if the key does not have the right `needed`."""
    if not who.allows(needed):
        lowest = "marketing or sales" if needed == READ else needed
        raise Problem(403, "", f"This needs the role {lowest}; the key {who.name!r} is {who.role}.")


def principal_of(request: Request) -> Principal:
    """Return the principal of this request, by `app.state.keys`. Raises as `Keys.identify`."""
    keys: Keys = request.app.state.keys
    address = request.client.host if request.client else ""
    return keys.identify(request.headers.get("authorization", ""), address)


def needs(role: str) -> Callable[[Request], Principal]:
    """Return a dependency: the principal, if its role has the right `role`. It raises `Problem` 401 or 403."""
    if not any(role in allowed for allowed in ROLES.values()):
        raise ValueError(role)

    def check(request: Request) -> Principal:
        who = principal_of(request)
        require(who, role)
        return who

    return check
