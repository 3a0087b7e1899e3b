"""Checks of the database: integrity, tables, clock and dead letters."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import moment
from firsthour.operations.doctor.finding import Finding, well
from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.storage import migrate
from firsthour.runtime.storage.records import log

CLOCK_BACK_MAX: Final = timedelta(minutes=2)
RESTORE: Final = "stop FirstHour, copy the data directory to another place, and restore the latest backup"
_YEARS: Final = (2025, 2100)


def database(connection: Connection, clock: Clock) -> list[Finding]:
    """Return the findings. Clock and dead letters are checked only in a sound database of this version."""
    findings = [_integrity(connection), _tables(connection)]
    if well(findings):
        findings += [_clock(connection, clock), _dead_letters(connection)]
    return findings


def _integrity(connection: Connection) -> Finding:
    if connection.dialect.name != "sqlite":
        return Finding("database", "ok", "reachable")
    lines = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(3)")]
    if lines == ["ok"]:
        return Finding("database", "ok", "sound")
    return Finding("database", "wrong", f"damaged: {'; '.join(lines)[:200]}", RESTORE)


def _tables(connection: Connection) -> Finding:
    state = migrate.state(connection)
    if state == "current":
        return Finding("tables", "ok", "up to date")
    if state == "newer":
        remedy = "update this program; until then it keeps working"
        return Finding("tables", "warning", "of a newer version of FirstHour", remedy)
    problem, remedy = migrate.PROBLEMS[state]
    return Finding("tables", "wrong", f"the database has {problem}", remedy)


def _clock(connection: Connection, clock: Clock) -> Finding:
    now = clock.real()
    newest = connection.execute(sa.select(sa.func.max(log.c.at))).scalar()
    remedy = "set the clock of this host (NTP); deadlines and signatures depend on it"
    if not _YEARS[0] <= now.year <= _YEARS[1]:
        return Finding("clock", "wrong", f"the date of this host is {now:%Y-%m-%d}", remedy)
    if newest is not None and moment(newest) > now + CLOCK_BACK_MAX:
        fault = f"{_utc(now)} on this host, which is before the newest event ({_utc(moment(newest))})"
        return Finding("clock", "wrong", fault, remedy)
    return Finding("clock", "ok", _utc(now))


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _dead_letters(connection: Connection) -> Finding:
    counts = dead_letters.counts(connection)
    if not counts:
        return Finding("dead letters", "ok", "none waiting")
    waiting = ", ".join(f"{count} of {consumer}" for consumer, count in sorted(counts.items()))
    remedy = "run `firsthour deadletters list`, then retry or drop each"
    return Finding("dead letters", "warning", f"waiting: {waiting}", remedy)
