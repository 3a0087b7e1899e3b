"""Removes expired rows in small steps with pauses, so that no event is delayed.

Each sweep finds its rows by an index. A step takes a few milliseconds and runs after all other waiting units. A
proportional pause follows, so that the writer thread has at least nine tenths of its time for other units.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog

from firsthour.kernel.time_units import micros
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.processing.service import Sweep
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import cursors, log, seen
from firsthour.runtime.storage.sqlite_engines import used_bytes
from firsthour.runtime.storage.unit import Lane, StorageError, Unit, Units
from schemas import topics

SEEN_DAYS = 21  # more than the days of an event in the spool (10) and in a topic (7) together
LOG_DAYS = 7
STEP_SECONDS: Final = 0.005  # the intended duration of a step
PAUSE_SECONDS_MIN: Final = 0.05
PAUSE_STEPS: Final = 10  # a pause is this many times as long as the step before it
LOOK_SECONDS: Final = 60.0  # between two rounds of all sweeps
ROWS_FIRST: Final = 100
ROWS_MIN: Final = 10
ROWS_MAX: Final = 1_000
_DAY_US = 86_400_000_000

_log = structlog.get_logger(__name__)

_SEEN = statements.Sql(
    lambda _: sa.delete(seen).where(
        sa.tuple_(seen.c.consumer, seen.c.event_id).in_(
            sa.select(seen.c.consumer, seen.c.event_id)
            .where(seen.c.day < sa.bindparam("before"))
            .order_by(seen.c.day)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


def _oldest_read(_: statements.SqlDialect) -> sa.Delete:
    """Delete the expired rows among the oldest rows of a topic that every reader has passed."""
    topic = sa.bindparam("topic", type_=sa.Text)
    read_to = (
        sa.select(sa.func.coalesce(sa.func.min(cursors.c.position), 0))
        .where(cursors.c.topic == topic, cursors.c.partition == 0)
        .scalar_subquery()
    )
    oldest = (
        sa.select(log.c.id, log.c.at)
        .where(log.c.topic == topic, log.c.partition == 0, log.c.id <= read_to)
        .order_by(log.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .subquery()
    )
    old = sa.select(oldest.c.id).where(oldest.c.at < sa.bindparam("before"))
    return sa.delete(log).where(log.c.id.in_(old))


_LOG = statements.Sql(_oldest_read)


def forget_seen(unit: Unit, limit: int) -> int:
    """Remove the ids of seen events that are too old to be sent again."""
    today = micros(unit.clock.real()) // _DAY_US
    return _SEEN.run(unit.connection, before=today - SEEN_DAYS, limit=limit)


def drop_read(unit: Unit, limit: int, *, topic: str, bytes_max: int | None = None) -> int:
    """Remove records of the embedded log that have expired and that every reader has passed.

    While the file has more than `bytes_max` bytes, records that have not expired are removed too.
    """
    is_full = bytes_max is not None and used_bytes(unit.connection) > bytes_max
    now = micros(unit.clock.real())
    before = now + 1 if is_full else now - LOG_DAYS * _DAY_US
    return _LOG.run(unit.connection, topic=topic, before=before, limit=limit)


def drop_dead_letters(unit: Unit, limit: int, *, retention: Retention) -> int:
    """Remove the dead letters that are older than `retention` allows."""
    return dead_letters.expire(unit.connection, unit.clock.real() - retention.age, limit)


def standard_sweeps(retention: Retention, *, database_bytes_max: int | None) -> list[Sweep]:
    """Return the sweeps of every process that runs units.

    `database_bytes_max`: the bound of the embedded database file. None: the distributed profile, where a row of the log is
    deleted once it is published, never by age.
    """
    read: list[Sweep] = []
    if database_bytes_max is not None:
        read = [partial(drop_read, topic=topic, bytes_max=database_bytes_max) for topic in topics.ALL]
    return [forget_seen, *read, partial(drop_dead_letters, retention=retention)]


class _Step(NamedTuple):
    limit: int  # rows that it could remove
    removed: int
    seconds: float


class Housekeeping:
    """The runner of all sweeps."""

    name = "runtime.sweep"

    def __init__(self, sweeps: Sequence[Sweep], units: Units) -> None:
        self._sweeps = tuple(sweeps)
        self._units = units
        self._rows = [ROWS_FIRST] * len(self._sweeps)

    async def step(self) -> bool:
        """Run one step of each sweep, all in one unit, for tests. Return whether any sweep has more to do."""

        def work(unit: Unit) -> list[_Step]:
            return [self._run(unit, n) for n in range(len(self._sweeps))]

        more = [self._adapt(n, step) for n, step in enumerate(await self._units.run(work, Lane.BULK))]
        return any(more)

    async def run(self) -> None:
        while True:
            for n in range(len(self._sweeps)):
                more = True
                while more:
                    more, seconds = await self._step_of(n)
                    await asyncio.sleep(max(PAUSE_SECONDS_MIN, PAUSE_STEPS * seconds))
            await asyncio.sleep(LOOK_SECONDS)

    async def _step_of(self, n: int) -> tuple[bool, float]:
        try:
            return await self._once(n)
        except StorageError:  # the other runners log it; the next round removes the rows
            return False, 0.0
        except Exception as failure:  # noqa: BLE001  # the other sweeps must still run
            _log.error("sweep failed", exc_info=failure)
            return False, 0.0

    async def _once(self, n: int) -> tuple[bool, float]:
        """Run one step of a sweep. Return whether it has more to do, and the seconds it took."""
        step = await self._units.run(lambda unit: self._run(unit, n), Lane.BULK)
        return self._adapt(n, step), step.seconds

    def _run(self, unit: Unit, n: int) -> _Step:
        start = unit.clock.monotonic()
        return _Step(self._rows[n], self._sweeps[n](unit, self._rows[n]), unit.clock.monotonic() - start)

    def _adapt(self, n: int, step: _Step) -> bool:
        """Set the rows of the next step by the duration of this one. Return whether the sweep has more to do."""
        if step.seconds > STEP_SECONDS:
            self._rows[n] = max(ROWS_MIN, step.limit // 2)
        elif step.removed >= step.limit and step.seconds < STEP_SECONDS / 2:
            self._rows[n] = min(ROWS_MAX, step.limit * 2)
        return step.removed >= step.limit
