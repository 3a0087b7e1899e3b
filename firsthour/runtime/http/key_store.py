"""API keys in the database. Each key has a role, and may have a rep, a source and an expiry.

A key is `fh_<id>_<secret>`. The id is not secret: it names the key in lists and logs. The secret has 256 random bits. It is
shown once; only its hash is stored.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.http.principal import ROLES
from firsthour.runtime.storage import statements

api_keys = sa.Table(
    "api_keys",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("name", statements.Text, nullable=False),
    sa.Column("role", statements.Text, nullable=False),
    sa.Column("rep", statements.Text),  # the key acts as this rep; NULL: as no rep
    sa.Column("source", statements.Text),  # the key sends events for this source of sources.yaml
    sa.Column("hash", statements.Text, nullable=False),  # sha256 hex: a random key does not need a slow hash
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("expires_at", statements.Integer),  # NULL: never
    sa.Column("revoked_at", statements.Integer),  # NULL: not revoked
    sa.Column("used_at", statements.Integer),  # the last use; NULL: none was recorded
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

    def is_valid(self, now: datetime) -> bool:
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
    """Create a key. Return its id and the key itself, which is not stored. Raises `ValueError` for an unknown role."""
    if role not in ROLES:
        raise ValueError(f"unknown role {role!r}; use one of: {', '.join(ROLES)}")
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
    """Revoke a key. Return False if no unrevoked key has this id."""
    return _REVOKE.run(connection, key=id, revoked_at=micros(now)) == 1


def list_keys(connection: Connection) -> list[Key]:
    """Return all keys, the oldest first."""
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


def record_use(connection: Connection, used: Mapping[str, datetime]) -> None:
    """Store the last use of keys. All gateways lock the rows in the order of their ids, so that they do not deadlock."""
    _LOCK.all(connection, keys=sorted(used))
    _USED.many(connection, [{"key": id, "used_at": micros(at)} for id, at in used.items()])


def digest(key: str) -> str:
    """Return the hash under which a key is stored."""
    return sha256(key.encode()).hexdigest()


def _at(us: int | None) -> datetime | None:
    return None if us is None else moment(us)
