"""Sessions of people in the console, the one-time links that begin them, and the log of what people did there.

A browser has a random token in a cookie; only its hash is stored. A session ends at its expiry, after a time without use, when
a person ends it, or when the API key that began it, or made its link, is no longer valid.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.http.key_store import digest
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.storage import statements

SESSION_LASTS: Final = timedelta(days=30)
IDLE: Final = timedelta(days=7)
LINK_LASTS: Final = timedelta(minutes=15)
USE_NOTED: Final = timedelta(minutes=5)
"""The last use of a session is stored no more often."""
EXPIRED_AT_ONCE: Final = 100
AGENT_MAX: Final = 120  # characters of the name of a browser
SESSIONS_MAX: Final = 500  # in a list

sessions = sa.Table(
    "console_sessions",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("hash", statements.Text, nullable=False),  # sha256 hex of the token: a random token needs no slow hash
    sa.Column("name", statements.Text, nullable=False),  # shown to people; of a key: its name
    sa.Column("role", statements.Text, nullable=False),
    sa.Column("rep", statements.Text),  # the session acts as this rep; NULL: as no rep
    sa.Column("key_id", statements.Text),  # the API key that began it or made its link; NULL: neither
    sa.Column("agent", statements.Text, nullable=False),  # the browser, as it names itself
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("expires_at", statements.Integer, nullable=False),
    sa.Column("used_at", statements.Integer, nullable=False),
    sa.Index("console_sessions_by_hash", "hash", unique=True),
    sa.Index("console_sessions_by_expiry", "expires_at"),
)
links = sa.Table(
    "console_links",
    statements.metadata,
    sa.Column("hash", statements.Text, primary_key=True),
    sa.Column("name", statements.Text, nullable=False),
    sa.Column("role", statements.Text, nullable=False),
    sa.Column("rep", statements.Text),
    sa.Column("key_id", statements.Text),  # the API key that made it; NULL: the process itself did
    sa.Column("expires_at", statements.Integer, nullable=False),
    sa.Index("console_links_by_expiry", "expires_at"),
)

_ADD = statements.Sql(lambda _: sa.insert(sessions).values({c.name: sa.bindparam(c.name) for c in sessions.columns}))
_FIND = statements.Sql(lambda _: sa.select(sessions).where(sessions.c.hash == sa.bindparam("hash")))
_LIST = statements.Sql(
    lambda _: (
        sa.select(sessions)
        .where(sessions.c.expires_at > sa.bindparam("now"))
        .order_by(sessions.c.used_at.desc(), sessions.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_USED = statements.Sql(
    lambda _: (
        sa.update(sessions).where(sessions.c.id == sa.bindparam("session")).values(used_at=sa.bindparam("used_at"))
    )
)
_END = statements.Sql(lambda _: sa.delete(sessions).where(sessions.c.id == sa.bindparam("session")))
_ADD_LINK = statements.Sql(lambda _: sa.insert(links).values({c.name: sa.bindparam(c.name) for c in links.columns}))
_FIND_LINK = statements.Sql(
    lambda _: sa.select(links).where(links.c.hash == sa.bindparam("hash"), links.c.expires_at > sa.bindparam("now"))
)
_TAKE_LINK = statements.Sql(
    lambda _: sa.delete(links).where(links.c.hash == sa.bindparam("hash"), links.c.expires_at > sa.bindparam("now"))
)


def _expired(table: sa.Table, key: sa.Column[Any]) -> statements.Sql:
    return statements.Sql(
        lambda _: sa.delete(table).where(
            key.in_(
                sa.select(key)
                .where(table.c.expires_at <= sa.bindparam("now"))
                .order_by(table.c.expires_at)
                .limit(sa.bindparam("limit", type_=sa.Integer))
                .with_for_update(skip_locked=True)
            )
        )
    )


_DROP_EXPIRED = (_expired(sessions, sessions.c.id), _expired(links, links.c.hash))


@dataclass(frozen=True)
class Session:
    """A person in a browser. Times are real."""

    id: str
    name: str
    role: str
    rep: str | None
    key_id: str | None
    agent: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime

    @property
    def principal(self) -> Principal:
        """The principal of its requests."""
        return Principal(f"session:{self.id}", self.name, self.role, self.rep)

    def is_valid(self, now: datetime) -> bool:
        """Return whether it has neither expired nor been unused for too long."""
        return now < self.expires_at and now < self.used_at + IDLE


@dataclass(frozen=True)
class SignInLink:
    """The session that a key, a one-time link or an account begins. With the key of `key_id`, it ends."""

    name: str
    role: str
    rep: str | None
    key_id: str | None = None


def new_token() -> str:
    """Return a token of 256 random bits."""
    return secrets.token_urlsafe(32)


def begin(
    connection: Connection,
    granted: SignInLink,
    now: datetime,
    *,
    agent: str = "",
    lasts: timedelta = SESSION_LASTS,
) -> tuple[Session, str]:
    """Begin a session. Return it and its token, which is not stored. Some expired sessions are removed."""
    for expired in _DROP_EXPIRED:
        expired.run(connection, now=micros(now), limit=EXPIRED_AT_ONCE)
    token = new_token()
    session = Session(
        id=secrets.token_hex(6),
        name=granted.name,
        role=granted.role,
        rep=granted.rep,
        key_id=granted.key_id,
        agent="".join(c for c in agent if c.isprintable())[:AGENT_MAX],
        created_at=now,
        expires_at=now + lasts,
        used_at=now,
    )
    _ADD.run(
        connection,
        id=session.id,
        hash=digest(token),
        name=session.name,
        role=session.role,
        rep=session.rep,
        key_id=session.key_id,
        agent=session.agent,
        created_at=micros(now),
        expires_at=micros(session.expires_at),
        used_at=micros(now),
    )
    return session, token


def find(connection: Connection, token: str) -> Session | None:
    """Return the session of a token, which may have expired. None: there is none."""
    row = _FIND.first(connection, hash=digest(token))
    return None if row is None else _session(row)


def open_sessions(connection: Connection, now: datetime) -> Sequence[Session]:
    """Return the sessions that are valid, the last used first."""
    rows = map(_session, _LIST.all(connection, now=micros(now), limit=SESSIONS_MAX))
    return [session for session in rows if session.is_valid(now)]


def note_use(connection: Connection, id: str, now: datetime) -> None:
    """Store the last use of a session."""
    _USED.run(connection, session=id, used_at=micros(now))


def end(connection: Connection, id: str) -> bool:
    """End a session. Return whether there was one."""
    return _END.run(connection, session=id) == 1


def create_link(connection: Connection, granted: SignInLink, now: datetime) -> str:
    """Store a one-time link that lasts for `LINK_LASTS`, and return its token."""
    token = new_token()
    _ADD_LINK.run(
        connection,
        hash=digest(token),
        name=granted.name,
        role=granted.role,
        rep=granted.rep,
        key_id=granted.key_id,
        expires_at=micros(now + LINK_LASTS),
    )
    return token


def find_link(connection: Connection, token: str, now: datetime) -> SignInLink | None:
    """Return what a link gives. None: it does not exist, has been used, or has expired."""
    row = _FIND_LINK.first(connection, hash=digest(token), now=micros(now))
    return None if row is None else SignInLink(row.name, row.role, row.rep, row.key_id)


def take_link(connection: Connection, token: str, now: datetime) -> SignInLink | None:
    """Use up a link. Of two requests with the same link, one gets None."""
    granted = find_link(connection, token, now)
    taken = granted is not None and _TAKE_LINK.run(connection, hash=digest(token), now=micros(now)) == 1
    return granted if taken else None


def _session(row: Any) -> Session:
    return Session(
        row.id,
        row.name,
        row.role,
        row.rep,
        row.key_id,
        row.agent,
        moment(row.created_at),
        moment(row.expires_at),
        moment(row.used_at),
    )
