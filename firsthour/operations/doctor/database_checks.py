"""Checks of the database: integrity, tables, clock and dead letters."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.doctor.finding import Finding, well
from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.storage import installation, migrate
from firsthour.runtime.storage.records import log
from services.notifier.store.tables import pages

CLOCK_BACK_MAX: Final = timedelta(minutes=2)
RESTORE: Final = "stop FirstHour, copy the data directory to another place, and restore the latest backup"
_YEARS: Final = (2025, 2100)
_LEADS_NAMED: Final = 10


def database(connection: Connection, clock: Clock) -> list[Finding]:
    """Return the findings. Clock and dead letters are checked only in a sound database of this version."""
    findings = [_integrity(connection), _tables(connection)]
    if well(findings):
        findings += [_clock(connection, clock), *_ahead(connection, clock), _dead_letters(connection)]
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
    remedy = "set the clock of this host (NTP), on which deadlines and signatures depend; if it is right, it was ahead before"
    if not _YEARS[0] <= now.year <= _YEARS[1]:
        return Finding("clock", "wrong", f"the date of this host is {now:%Y-%m-%d}", remedy)
    if newest is not None and moment(newest) > now + CLOCK_BACK_MAX:
        fault = f"{_utc(now)} on this host, which is before the newest event ({_utc(moment(newest))})"
        return Finding("clock", "wrong", fault, remedy)
    return Finding("clock", "ok", _utc(now))


def _ahead(connection: Connection, clock: Clock) -> list[Finding]:
    """Return a finding if pages are of later than now. A demo's business time runs ahead of the host's clock."""
    if installation.get(connection, "clock") is not None:
        return []
    after = micros(clock.real() + CLOCK_BACK_MAX)
    made = sa.select(pages.c.lead_id, sa.func.max(pages.c.created_at)).where(pages.c.created_at > after)
    rows = connection.execute(made.group_by(pages.c.lead_id).order_by(sa.func.max(pages.c.created_at).desc())).all()
    if not rows:
        return []
    leads = ", ".join(row[0] for row in rows[:_LEADS_NAMED]) + (" ..." if len(rows) > _LEADS_NAMED else "")
    fault = f"{len(rows)} leads were paged later than now, until {_utc(moment(rows[0][1]))}: {leads}"
    remedy = "the clock of a host was ahead: until then their next pages come late; assign each anew by hand, or call"
    return [Finding("times ahead", "warning", fault, remedy)]


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _dead_letters(connection: Connection) -> Finding:
    counts = dead_letters.counts(connection)
    if not counts:
        return Finding("dead letters", "ok", "none waiting")
    waiting = ", ".join(f"{count} of {consumer}" for consumer, count in sorted(counts.items()))
    remedy = "run `firsthour deadletters list`, then retry or drop each"
    return Finding("dead letters", "warning", f"waiting: {waiting}", remedy)
