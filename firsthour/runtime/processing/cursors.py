"""The cursors of consumers, and the events they have seen. A unit compares and sets the cursor of its worker.

The cursor alone makes a redelivery harmless, and stops a worker that has lost its partition. `seen` removes the duplicates
that a producer sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.config_versions import IN_FORCE
from firsthour.runtime.storage.records import Record, cursors, seen
from firsthour.runtime.storage.unit import Unit
from schemas.errors import FirstHourError

_DAY_US = 86_400_000_000

_POSITIONS = statements.Sql(
    lambda _: sa.select(cursors.c.partition, cursors.c.position).where(
        cursors.c.consumer == sa.bindparam("consumer"), cursors.c.topic == sa.bindparam("topic")
    )
)
_LOCK = statements.Sql(
    lambda _: (
        sa.select(cursors.c.position)
        .where(cursors.c.consumer == sa.bindparam("consumer"), cursors.c.topic == sa.bindparam("topic"))
        .order_by(cursors.c.partition)
        .with_for_update()
    )
)
_START = statements.Sql(
    lambda f: f.insert(cursors).values({c.name: sa.bindparam(c.name) for c in cursors.columns}).on_conflict_do_nothing()
)
_MOVE = statements.Sql(
    lambda _: (
        sa.update(cursors)
        .where(
            cursors.c.consumer == sa.bindparam("consumer"),
            cursors.c.topic == sa.bindparam("topic"),
            cursors.c.partition == sa.bindparam("partition_"),
            cursors.c.position == sa.bindparam("was"),
        )
        .values(position=sa.bindparam("to"))
    )
)


def _mark_seen(dialect: statements.SqlDialect) -> Any:
    ids = dialect.unnest("ids").subquery()
    consumer, day = sa.bindparam("consumer", type_=sa.Text), sa.bindparam("day", type_=sa.Integer)
    # SQLite cannot parse an upsert of a SELECT without WHERE.
    rows = sa.select(consumer, ids.c.value, day).where(sa.true())
    insert = dialect.insert(seen).from_select(["consumer", "event_id", "day"], rows)
    return insert.on_conflict_do_nothing().returning(seen.c.event_id)


_MARK_SEEN = statements.Sql(_mark_seen)


def _advance(_: statements.SqlDialect) -> Any:
    """For PostgreSQL: move the cursors, and mark the events as seen if every cursor was at its expected position.

    The result also has the version of the configuration and the time of the database, which every unit needs.
    """
    consumer, topic = sa.bindparam("consumer", type_=sa.Text), sa.bindparam("topic", type_=sa.Text)
    moves = statements.unnest(
        "moves", partitions=("partition", sa.BigInteger), expected=("was", sa.BigInteger), targets=("to", sa.BigInteger)
    )
    moved = (
        sa.update(cursors)
        .where(
            cursors.c.consumer == consumer,
            cursors.c.topic == topic,
            cursors.c.partition == moves.c.partition,
            cursors.c.position == moves.c.was,
        )
        .values(position=moves.c.to)
        .returning(cursors.c.partition)
        .cte("moved")
    )
    count = sa.select(sa.func.count()).select_from(moved).scalar_subquery()
    events = statements.unnest("events", ids=("id", sa.Text))
    rows = sa.select(consumer, events.c.id, sa.bindparam("day", type_=sa.Integer)).where(
        count == sa.bindparam("count", type_=sa.Integer)
    )
    marked = (
        postgresql.insert(seen)
        .from_select(["consumer", "event_id", "day"], rows)
        .on_conflict_do_nothing()
        .returning(seen.c.event_id)
        .cte("marked")
    )
    return sa.select(
        count.label("moved"),
        sa.func.array(sa.select(marked.c.event_id).scalar_subquery()).label("new"),
        IN_FORCE.scalar_subquery().label("version"),
        sa.literal_column(statements.MICROSECONDS).label("at"),
    )


ADVANCE = statements.Sql(_advance)


Moves = Mapping[int, tuple[int, int]]
"""By partition: the expected position of the cursor, and the new one."""


class CursorMovedError(FirstHourError):
    """Raised when a stored cursor is not at its expected position, because another worker has processed these records.

    The unit is rolled back.
    """


def read_positions(unit: Unit, consumer: str, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Return the position of the consumer in each partition. A missing cursor is created at 0."""
    place = {"consumer": consumer, "topic": topic}
    _START.many(unit.connection, [{**place, "partition": n, "position": 0} for n in sorted(partitions)])
    positions = dict(tuple(row) for row in _POSITIONS.all(unit.connection, **place))
    return {n: int(positions[n]) for n in partitions}


def lock(unit: Unit, consumer: str, topic: str) -> None:
    """Lock the cursors of the consumer in all partitions of this topic until the end of the unit."""
    _LOCK.all(unit.connection, consumer=consumer, topic=topic)


def advance(unit: Unit, consumer: str, topic: str, moves: Moves, batch: Sequence[Record]) -> list[Record]:
    """Move the cursors, and return the records of the batch whose event is new.

    This is `move_cursors` and `only_new`. On PostgreSQL one statement does both, because each statement costs a round trip.

    Raises:
        CursorMovedError: a cursor is not at its expected position.
    """
    if not isinstance(unit.connection, statements.DriverConnection):
        move_cursors(unit, consumer, topic, moves)
        return only_new(unit, consumer, batch)
    partitions, positions = zip(*sorted(moves.items()), strict=True)
    expected, targets = zip(*positions, strict=True)
    row = ADVANCE.first(
        unit.connection,
        consumer=consumer,
        topic=topic,
        partitions=partitions,
        expected=expected,
        targets=targets,
        count=len(moves),
        ids=_ids(batch),
        day=_day(unit),
        now=micros(unit.clock.business()),
    )
    if row.moved != len(moves):
        raise _moved(consumer, topic, moves)
    unit.began(row.at, row.version)
    return _first_of_each(batch, set(row.new))


def move_cursors(unit: Unit, consumer: str, topic: str, moves: Moves) -> None:
    """Compare and set the cursor of each partition. Raises `CursorMovedError` if one is not at its expected position."""
    place = {"consumer": consumer, "topic": topic}
    rows = [{**place, "partition_": partition, "was": was, "to": to} for partition, (was, to) in moves.items()]
    if _MOVE.many(unit.connection, rows) != len(moves):
        raise _moved(consumer, topic, moves)


def follow(unit: Unit, consumer: str, topic: str, move: tuple[int, int]) -> bool:
    """Move the cursor of a topic with one partition, if it is at its expected position. Return whether it was."""
    was, to = move
    row = {"consumer": consumer, "topic": topic, "partition_": 0, "was": was, "to": to}
    return _MOVE.many(unit.connection, [row]) == 1


def only_new(unit: Unit, consumer: str, batch: Sequence[Record]) -> list[Record]:
    """Return the records whose event this consumer has not seen, and mark these events as seen."""
    rows = _MARK_SEEN.all(unit.connection, consumer=consumer, day=_day(unit), ids=_ids(batch))
    return _first_of_each(batch, {row[0] for row in rows})


def _moved(consumer: str, topic: str, moves: Moves) -> CursorMovedError:
    expected = {partition: was for partition, (was, _) in moves.items()}
    return CursorMovedError(f"a cursor of {consumer} in {topic} is not at {expected}; read the positions again")


def _day(unit: Unit) -> int:
    return micros(unit.clock.real()) // _DAY_US


def _ids(batch: Sequence[Record]) -> list[str]:
    """Return the ids of the events, sorted, so that all units lock them in the same order and do not deadlock."""
    return sorted({record.event_id for record in batch})


def _first_of_each(batch: Sequence[Record], new: set[str]) -> list[Record]:
    """Return the first record of each new event."""
    records = []
    for record in batch:
        if record.event_id in new:
            new.discard(record.event_id)
            records.append(record)
    return records
