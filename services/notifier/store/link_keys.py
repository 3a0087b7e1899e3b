"""The SQL of the keys that sign links."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from services.notifier.domain.link import LinkKey

link_keys = sa.Table(
    "notifier_link_keys",
    statements.metadata,
    sa.Column("id", statements.Integer, primary_key=True, autoincrement=False),
    sa.Column("secret", statements.Bytes, nullable=False),
    sa.Column("created_at", statements.Integer, nullable=False),  # real time
)

_ALL = statements.Sql(lambda _: sa.select(link_keys).order_by(link_keys.c.id))
_ADD = statements.Sql(
    lambda f: (
        f.insert(link_keys).values({c.name: sa.bindparam(c.name) for c in link_keys.columns}).on_conflict_do_nothing()
    )
)
_REMOVE = statements.Sql(lambda _: sa.delete(link_keys).where(link_keys.c.id == sa.bindparam("key")))


def list_link_keys(connection: Connection) -> tuple[LinkKey, ...]:
    """Return the keys, the newest last."""
    return tuple(LinkKey(row.id, bytes(row.secret), moment(row.created_at)) for row in _ALL.all(connection))


def add_link_key(connection: Connection, key: LinkKey) -> None:
    """Store a key. A key of the same number, which another process has stored, stays."""
    _ADD.run(connection, id=key.id, secret=key.secret, created_at=micros(key.created_at))


def remove_link_key(connection: Connection, id: int) -> None:
    """Remove a key: no link that it has signed is valid any more."""
    _REMOVE.run(connection, key=id)
