"""The statements about dispatches, the attempts to send them, and endpoints that are switched off."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.notifier.domain.dispatch import KEPT, Dispatch
from services.notifier.domain.page import LEASE
from services.notifier.store.columns import optional_micros, optional_moment

dispatches = sa.Table(
    "notifier_dispatches",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("kind", statements.Text, nullable=False),  # webhook, alert, notice
    sa.Column("channel", statements.Text, nullable=False),  # over which it is sent next
    sa.Column("channels", statements.Text, nullable=False),
    sa.Column("type", statements.Text, nullable=False),
    sa.Column("lead_id", statements.Text, nullable=False),  # empty: it is about no lead
    sa.Column("body", statements.Text, nullable=False),
    sa.Column("state", statements.Text, nullable=False),  # pending, sending, sent, failed
    # Real time, as all others here: when it is looked at again, or the end of the lease; NULL: it has ended.
    sa.Column("next_at", statements.Integer),
    sa.Column("tries", statements.Integer, nullable=False),
    sa.Column("failures", statements.Integer, nullable=False),  # since the beginning or the last resend
    sa.Column("error", statements.Text),
    sa.Column("created_at", statements.Integer, nullable=False),
    sa.Column("ended_at", statements.Integer),
    sa.Index("notifier_dispatches_by_next", "next_at", "channel"),
    sa.Index("notifier_dispatches_by_channel", "channel", "next_at"),
    sa.Index("notifier_dispatches_by_time", "channel", "created_at", "id"),
    sa.Index("notifier_dispatches_by_age", "created_at"),
    sa.Index(
        "notifier_dispatches_failed",
        "channel",
        "created_at",
        "id",
        sqlite_where=sa.text("state = 'failed'"),
        postgresql_where=sa.text("state = 'failed'"),
    ),
    sa.Index(
        "notifier_dispatches_notices",
        "created_at",
        "id",
        sqlite_where=sa.text("kind = 'notice'"),
        postgresql_where=sa.text("kind = 'notice'"),
    ),
)
dispatch_attempts = sa.Table(
    "notifier_dispatch_attempts",
    statements.metadata,
    sa.Column("dispatch_id", statements.Text, primary_key=True),
    sa.Column("n", statements.Integer, primary_key=True),
    sa.Column("channel", statements.Text, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),
    sa.Column("milliseconds", statements.Integer, nullable=False),
    sa.Column("outcome", statements.Text, nullable=False),  # sent, try_again, gave_up, unusable, unknown (a crash)
    sa.Column("detail", statements.Text),
)
endpoints = sa.Table(
    "notifier_endpoints",
    statements.metadata,
    sa.Column("channel", statements.Text, primary_key=True),
    sa.Column("disabled_at", statements.Integer, nullable=False),
    sa.Column("why", statements.Text, nullable=False),
)

_ADD = statements.Sql(
    lambda f: (
        f.insert(dispatches).values({c.name: sa.bindparam(c.name) for c in dispatches.columns}).on_conflict_do_nothing()
    )
)
_NEXT = statements.Sql(lambda _: sa.select(sa.func.min(dispatches.c.next_at)))
_DUE = statements.Sql(
    lambda _: (
        sa.select(dispatches.c.id)
        .where(dispatches.c.channel == sa.bindparam("channel"), dispatches.c.next_at <= sa.bindparam("now"))
        .order_by(dispatches.c.next_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_LOCK = statements.Sql(
    lambda f: (
        sa.select(dispatches).where(f.is_any_of(dispatches.c.id, "ids")).order_by(dispatches.c.id).with_for_update()
    )
)
_MUTABLE = ("channel", "state", "next_at", "tries", "failures", "error", "ended_at")
_CHANGE = statements.Sql(
    lambda _: (
        sa.update(dispatches)
        .where(dispatches.c.id == sa.bindparam("dispatch"))
        .values({name: sa.bindparam(name) for name in _MUTABLE})
    )
)
_HURRY = statements.Sql(
    lambda _: (
        sa.update(dispatches)
        .where(dispatches.c.next_at > sa.bindparam("after"), dispatches.c.created_at > sa.bindparam("made"))
        .values(
            next_at=sa.case(
                (dispatches.c.state == "sending", sa.bindparam("leased", type_=sa.BigInteger)),
                else_=sa.bindparam("at", type_=sa.BigInteger),
            )
        )
    )
)
_ADD_ATTEMPTS = statements.Sql(lambda f: f.upsert(dispatch_attempts, ["dispatch_id", "n"]))
_DISABLED = statements.Sql(lambda _: sa.select(endpoints))
_DISABLE = statements.Sql(lambda f: f.upsert(endpoints, ["channel"]))
_ENABLE = statements.Sql(lambda _: sa.delete(endpoints).where(endpoints.c.channel == sa.bindparam("channel")))


def _of_notices() -> sa.Select[Any]:
    at, id = sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("id", type_=sa.Text)
    older = sa.or_(dispatches.c.created_at < at, sa.and_(dispatches.c.created_at == at, dispatches.c.id < id))
    # Written out, so that the index of notices is used.
    return (
        sa.select(dispatches)
        .where(sa.literal_column("kind") == sa.text("'notice'"), older)
        .order_by(dispatches.c.created_at.desc(), dispatches.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


def _newest_first(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    at, id = sa.bindparam("at", type_=sa.BigInteger), sa.bindparam("id", type_=sa.Text)
    older = sa.or_(dispatches.c.created_at < at, sa.and_(dispatches.c.created_at == at, dispatches.c.id < id))
    return (
        sa.select(dispatches)
        .where(dispatches.c.channel == sa.bindparam("channel"), older, *where)
        .order_by(dispatches.c.created_at.desc(), dispatches.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_LISTED = statements.Sql(lambda _: _newest_first())
# Written out, so that the index of failed dispatches is used.
_LISTED_FAILED = statements.Sql(lambda _: _newest_first(sa.literal_column("state") == sa.text("'failed'")))
_LISTED_WAITING = statements.Sql(lambda _: _newest_first(dispatches.c.next_at.is_not(None)))
_DUE_NOTICES = statements.Sql(
    lambda _: (
        sa.select(dispatches.c.id)
        .where(sa.literal_column("kind") == sa.text("'notice'"), dispatches.c.next_at <= sa.bindparam("now"))
        .order_by(dispatches.c.created_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_NOTICES = statements.Sql(lambda _: _of_notices())
_LISTS = {"all": _LISTED, "failed": _LISTED_FAILED, "waiting": _LISTED_WAITING}
_ONE = statements.Sql(lambda _: sa.select(dispatches).where(dispatches.c.id == sa.bindparam("id")))
_ATTEMPTS = statements.Sql(
    lambda _: (
        sa.select(dispatch_attempts)
        .where(dispatch_attempts.c.dispatch_id == sa.bindparam("id"))
        .order_by(dispatch_attempts.c.n)
    )
)
_FAILED = statements.Sql(
    lambda _: (
        sa.select(dispatches.c.id)
        .where(
            dispatches.c.channel == sa.bindparam("channel"),
            sa.literal_column("state") == sa.text("'failed'"),
            dispatches.c.created_at >= sa.bindparam("since"),
        )
        .order_by(dispatches.c.created_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)


def _waiting(_: statements.SqlDialect) -> Any:
    some = (
        sa.select(dispatches.c.created_at)
        .where(dispatches.c.channel == sa.bindparam("channel"), dispatches.c.next_at.is_not(None))
        .limit(COUNTED_MAX)
        .subquery()
    )
    return sa.select(sa.func.count(), sa.func.min(some.c.created_at)).select_from(some)


_WAITING = statements.Sql(_waiting)


def _expired() -> sa.Select[Any]:
    return (
        sa.select(dispatches.c.id)
        .where(dispatches.c.created_at < sa.bindparam("before"))
        .order_by(dispatches.c.created_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_EXPIRED = statements.Sql(lambda _: _expired())
_FORGET_ATTEMPTS = statements.Sql(
    lambda f: sa.delete(dispatch_attempts).where(f.is_any_of(dispatch_attempts.c.dispatch_id, "ids"))
)
_FORGET = statements.Sql(lambda f: sa.delete(dispatches).where(f.is_any_of(dispatches.c.id, "ids")))
_TIMES = ("next_at", "created_at", "ended_at")
COUNTED_MAX = 10_000
_json = msgspec.json.Encoder().encode
_channels = msgspec.json.Decoder(tuple[str, ...]).decode


class DispatchAttempt(NamedTuple):
    """One attempt to send a dispatch, and its outcome; `at` in real time."""

    dispatch_id: str
    n: int
    channel: str
    at: datetime
    milliseconds: int
    outcome: str
    detail: str | None


class DisabledEndpoint(NamedTuple):
    """An endpoint that gets nothing until it is enabled again."""

    channel: str
    disabled_at: datetime
    why: str


def add_dispatches(unit: Unit, new: Iterable[Dispatch]) -> None:
    """Store new dispatches at the end of the unit. One that is stored already stays unchanged."""
    rows = [_row(dispatch) for dispatch in sorted(new, key=attrgetter("id"))]
    unit.store(_ADD.work(unit.connection, rows))


def next_dispatch_at(unit: Unit) -> datetime | None:
    """Return when the first dispatch is to be looked at; None: there is none."""
    row = _NEXT.first(unit.connection)
    return optional_moment(row[0]) if row else None


def due_dispatches(unit: Unit, channel: str, now: datetime, limit: int) -> list[str]:
    """Return the ids of due dispatches of a channel, the first to be sent first, without locks."""
    return [row[0] for row in _DUE.all(unit.connection, channel=channel, now=micros(now), limit=limit)]


def due_notices(unit: Unit, now: datetime, limit: int) -> list[str]:
    """Return the ids of due notices over any channel, the oldest first, without locks."""
    return [row[0] for row in _DUE_NOTICES.all(unit.connection, now=micros(now), limit=limit)]


def lock_dispatches(unit: Unit, ids: Collection[str]) -> list[Dispatch]:
    """Lock and return these dispatches."""
    return [_dispatch(row) for row in unit.lock(_LOCK, ids=sorted(ids))]


def hurry_dispatches(unit: Unit, at: datetime, made: datetime) -> int:
    """Make waiting dispatches due at `at` that were created after `made`. Return their number. All times are real."""
    leased = micros(at + LEASE)  # one that is being sent now must not be sent twice
    return _HURRY.run(unit.connection, after=micros(at), made=micros(made), at=micros(at), leased=leased)


def change_dispatches(unit: Unit, changed: Iterable[Dispatch]) -> None:
    """Store the mutable columns of these dispatches at the end of the unit."""
    unit.store(_CHANGE.work(unit.connection, [{"dispatch": one.id, **_row(one)} for one in changed]))


def add_dispatch_attempts(unit: Unit, new: Iterable[DispatchAttempt]) -> None:
    """Store attempts at the end of the unit. A later outcome of the same attempt replaces the earlier one."""
    rows = [{**attempt._asdict(), "at": micros(attempt.at)} for attempt in sorted(new)]
    unit.store(_ADD_ATTEMPTS.work(unit.connection, rows))


def disabled_endpoints(connection: Connection) -> dict[str, DisabledEndpoint]:
    """Return the endpoints that are switched off, by channel."""
    return {row[0]: DisabledEndpoint(row[0], moment(row[1]), row[2]) for row in _DISABLED.all(connection)}


def disable_endpoints(unit: Unit, disabled: Iterable[DisabledEndpoint]) -> None:
    """Switch endpoints off at the end of the unit."""
    rows = [{**one._asdict(), "disabled_at": micros(one.disabled_at)} for one in sorted(disabled)]
    unit.store(_DISABLE.work(unit.connection, rows))


def enable_endpoint(unit: Unit, channel: str) -> bool:
    """Switch an endpoint on. Return whether it was off."""
    return _ENABLE.run(unit.connection, channel=channel) > 0


def list_dispatches(
    connection: Connection, channel: str, state: str, before: tuple[int, str] | None, limit: int
) -> list[Dispatch]:
    """Return the dispatches of a channel, newest first.

    Args:
        state: `all`, `failed`, or `waiting`.
        before: Creation time (microseconds) and id of the last one of the list before.
    """
    at, id = before or (2**62, "")
    return [_dispatch(row) for row in _LISTS[state].all(connection, channel=channel, at=at, id=id, limit=limit)]


def list_notices(connection: Connection, before: tuple[int, str] | None, limit: int) -> list[Dispatch]:
    """Return the notices to teams, newest first. `before`: as in `list_dispatches`."""
    at, id = before or (2**62, "")
    return [_dispatch(row) for row in _NOTICES.all(connection, at=at, id=id, limit=limit)]


def find_dispatch(connection: Connection, id: str) -> Dispatch | None:
    """Return a dispatch; None: there is none of this id."""
    row = _ONE.first(connection, id=id)
    return None if row is None else _dispatch(row)


def attempts_of(connection: Connection, id: str) -> list[DispatchAttempt]:
    """Return the attempts to send a dispatch, in their order."""
    return [
        DispatchAttempt(row.dispatch_id, row.n, row.channel, moment(row.at), row.milliseconds, row.outcome, row.detail)
        for row in _ATTEMPTS.all(connection, id=id)
    ]


def failed_dispatches(unit: Unit, channel: str, since: datetime, limit: int) -> list[str]:
    """Return the ids of dispatches of a channel that failed, created at this time or later, the oldest first."""
    return [row[0] for row in _FAILED.all(unit.connection, channel=channel, since=micros(since), limit=limit)]


def count_waiting(connection: Connection, channel: str) -> tuple[int, datetime | None]:
    """Return the number of dispatches of a channel that wait, `COUNTED_MAX` at most, and when the oldest was created."""
    row = _WAITING.first(connection, channel=channel)
    return row[0], optional_moment(row[1])


def forget_dispatches(unit: Unit, limit: int) -> int:
    """Remove dispatches that were created more than `KEPT` ago, with their attempts."""
    before = micros(unit.clock.real() - KEPT)
    ids: Sequence[str] = [row[0] for row in _EXPIRED.all(unit.connection, before=before, limit=limit)]
    if ids:
        _FORGET_ATTEMPTS.run(unit.connection, ids=ids)
        _FORGET.run(unit.connection, ids=ids)
    return len(ids)


def _row(dispatch: Dispatch) -> dict[str, Any]:
    row = msgspec.structs.asdict(dispatch)
    row |= {name: optional_micros(row[name]) for name in _TIMES}
    row["channels"] = _json(dispatch.channels).decode()
    return row


def _dispatch(row: Row[Any]) -> Dispatch:
    values = {name: row._mapping[name] for name in Dispatch.__struct_fields__}
    values |= {name: optional_moment(values[name]) for name in _TIMES}
    values["channels"] = _channels(values["channels"])
    return Dispatch(**values)
