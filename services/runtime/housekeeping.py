"""Drops what nobody needs any more: `seen` rows by the day, log rows that every reader is past."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from services.runtime import db
from services.runtime.clock import micros
from services.runtime.log import cursors, log, seen
from services.runtime.unit import Unit

SEEN_DAYS = 21  # longer than spool (10) and topic (7) together
LOG_DAYS = 7
ROWS_AT_ONCE = 2_000
_DAY_US = 86_400_000_000

_SEEN = db.Sql(
    lambda _: sa.delete(seen).where(
        sa.tuple_(seen.c.consumer, seen.c.event_id).in_(
            sa.select(seen.c.consumer, seen.c.event_id)
            .where(seen.c.day < sa.bindparam("before"))
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)
_LOG = db.Sql(
    lambda _: sa.delete(log).where(
        log.c.id.in_(
            sa.select(log.c.id)
            .where(
                log.c.at < sa.bindparam("before"),
                log.c.id
                <= sa.select(sa.func.coalesce(sa.func.min(cursors.c.position), 0))
                .where(cursors.c.topic == log.c.topic, cursors.c.partition == log.c.partition)
                .scalar_subquery(),
            )
            .limit(sa.bindparam("limit", type_=sa.Integer))
        )
    )
)


def sweep(unit: Unit) -> datetime | None:
    """Drop a bounded number of rows; due again at once while there are more."""
    old = micros(unit.clock.real() - timedelta(days=LOG_DAYS))
    dropped = max(_forget(unit), _LOG.run(unit.connection, before=old, limit=ROWS_AT_ONCE))
    return unit.now if dropped == ROWS_AT_ONCE else None


def sweep_published(unit: Unit) -> datetime | None:
    """As `sweep` where rows of the log go when they have been published: never by their age, and cursors say nothing
    of them."""
    return unit.now if _forget(unit) == ROWS_AT_ONCE else None


def _forget(unit: Unit) -> int:
    today = micros(unit.clock.real()) // _DAY_US
    return _SEEN.run(unit.connection, before=today - SEEN_DAYS, limit=ROWS_AT_ONCE)
