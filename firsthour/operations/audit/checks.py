"""The checks of the audit. Each reads a bounded number of rows through an index, however many are stored.

A check yields a finding or none. Its grace is real time: work that is a moment old is not late. No check reads what the
timers keep in memory, so a timer that has stopped is found by the rows that it leaves behind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.audit.silence import Silence, silences
from firsthour.operations.audit.surge import surges
from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import outbox
from services.gateway.source_counts import ACCEPTED, IMPORTED, QUARANTINED, SURGE
from services.reporting.sources import HOUR, HOURS_KEPT, hour_of

NUMBER_MAX: Final = 100
"""Rows of one finding that are counted."""
OVERDUE: Final = timedelta(seconds=60)
UNPUBLISHED: Final = timedelta(seconds=30)
LATE: Final = timedelta(minutes=2)
"""How long a page may be late without a warning: the time of two channels, and some."""
SETTLED: Final = timedelta(seconds=60)
"""How long after a change of a lead the clock of it may be missing: its record is on the way."""
SLICE: Final = 5_000
"""Untouched leads compared with their clocks in one run. With more of them, each has its turn in a later run."""


class AuditFinding(NamedTuple):
    """What one check has found. `number`: of rows, up to `NUMBER_MAX`; `text`: a sentence with an example."""

    check: str
    number: int
    text: str
    about: str = ""  # the part of the installation, if each is told on its own: the source
    lines: tuple[str, ...] = ()  # more for the team that is told; they may have text from outside
    until: datetime | None = None  # what was found reaches to this real time; None: to the time of the run

    @property
    def key(self) -> str:
        """The name under which the finding is stored: it begins with the check."""
        return f"{self.check} {self.about}".rstrip()


@dataclass(frozen=True)
class AuditTime:
    """The times of one run."""

    business: datetime
    real: datetime
    speed: float = 1.0  # of business time, as a multiple of real time

    @classmethod
    def of(cls, clock: Clock) -> "AuditTime":
        """Return the times of now."""
        seconds = clock.real_seconds(timedelta(seconds=1))
        return cls(clock.business(), clock.real(), 1.0 / max(seconds, 1e-9))

    def business_before(self, grace: timedelta) -> int:
        """Return the business time that lies this real time ago, in microseconds."""
        return micros(self.business - grace * self.speed)

    def real_before(self, grace: timedelta) -> int:
        """Return the real time that lies this long ago, in microseconds."""
        return micros(self.real - grace)


Check = Callable[[Connection, AuditTime], AuditFinding | None]


class _Sql:
    """A statement. SQLite has no statistics of the rows, so its planner is told which partial index to use."""

    def __init__(self, text: str) -> None:
        """`text`: names the index after its table, as `/* INDEXED BY name */`."""
        self._general = sa.text(text)
        self._sqlite = sa.text(text.replace("/* INDEXED BY", "INDEXED BY").replace(" */", ""))

    def rows(self, connection: Connection, **values: Any) -> Sequence[Any]:
        statement = self._sqlite if connection.dialect.name == "sqlite" else self._general
        return connection.execute(statement, values).all()


def _found(
    check: str, rows: Sequence[Any], one: str, several: str, example: Callable[[Any], str]
) -> AuditFinding | None:
    if not rows:
        return None
    number = f"{len(rows)} or more" if len(rows) >= NUMBER_MAX else f"{len(rows)}"
    text = one if len(rows) == 1 else several.format(number)
    return AuditFinding(check, len(rows), f"{text}: {'' if len(rows) == 1 else 'for example '}{example(rows[0])}")


# --- leads and clocks -------------------------------------------------------------------------------------------------

_FORGOTTEN: Final = _Sql(
    """SELECT lead_id, status FROM router_leads /* INDEXED BY router_leads_forgotten */
       WHERE owner IS NULL AND queue_pool IS NULL AND status IN ('qualified', 'assigned', 'accepted', 'working')
       AND updated_at < :settled LIMIT :limit"""
)


def leads_are_owned_or_queued(connection: Connection, time: AuditTime) -> AuditFinding | None:
    """Find leads of Sales without an owner and without a place in a queue."""
    rows = _FORGOTTEN.rows(connection, limit=NUMBER_MAX, settled=time.business_before(SETTLED))
    one, several = (
        "a lead has neither an owner nor a place in a queue",
        "{} leads have neither an owner nor a place in a queue",
    )
    return _found("lead_forgotten", rows, one, several, lambda row: f"lead {row.lead_id} ({row.status})")


_CLOCKLESS: Final = _Sql(
    """SELECT leads.lead_id, leads.status FROM (
         SELECT lead_id, status, epoch, owner, submit_at, updated_at
         FROM router_leads /* INDEXED BY router_leads_untouched */
         WHERE touched_at IS NULL AND status IN ('qualified', 'assigned', 'accepted') AND lead_id > :after
         ORDER BY lead_id LIMIT :slice) AS leads
       LEFT JOIN notifier_clocks AS clocks ON clocks.lead_id = leads.lead_id
       WHERE leads.updated_at < :settled AND (
         clocks.lead_id IS NULL OR clocks.state NOT IN ('live', 'missed') OR clocks.submit_at <> leads.submit_at
         OR clocks.epoch <> leads.epoch OR coalesce(clocks.rep, '') <> coalesce(leads.owner, ''))
       LIMIT :limit"""
)
_SLICE_END: Final = _Sql(
    """SELECT max(lead_id) AS lead_id, count(*) AS leads FROM (
         SELECT lead_id FROM router_leads /* INDEXED BY router_leads_untouched */
         WHERE touched_at IS NULL AND status IN ('qualified', 'assigned', 'accepted') AND lead_id > :after
         ORDER BY lead_id LIMIT :slice) AS leads"""
)


class Clockless(NamedTuple):
    """The leads of one slice without their clock. `after`: where the next slice begins; empty: at the first lead."""

    rows: Sequence[Any]
    after: str


def find_clockless(connection: Connection, time: AuditTime, after: str) -> Clockless:
    """Find, in one slice of the untouched leads, those without a running clock of their assignment (I4)."""
    rows = _CLOCKLESS.rows(
        connection, after=after, slice=SLICE, settled=time.business_before(SETTLED), limit=NUMBER_MAX
    )
    [end] = _SLICE_END.rows(connection, after=after, slice=SLICE)
    return Clockless(rows, str(end.lead_id) if end.leads >= SLICE else "")


def clockless_finding(rows: Sequence[Any]) -> AuditFinding | None:
    """Return the finding of these leads without their clock."""
    one, several = "an untouched lead has no running clock", "{} untouched leads have no running clock"
    return _found("clock_missing", rows, one, several, lambda row: f"lead {row.lead_id} ({row.status})")


_OVERDUE: Final = _Sql(
    "SELECT lead_id, due_at FROM notifier_clocks WHERE due_at < :before ORDER BY due_at LIMIT :limit"
)


def rungs_fire(connection: Connection, time: AuditTime) -> AuditFinding | None:
    """Find clocks whose rung, or whose end of the promise, is overdue."""
    rows = _OVERDUE.rows(connection, limit=NUMBER_MAX, before=time.business_before(OVERDUE))
    one, several = "a rung is overdue by more than 60 s", "{} rungs are overdue by more than 60 s"
    return _found("rung_overdue", rows, one, several, lambda row: f"lead {row.lead_id}, due {_at(row.due_at)}")


# --- pages ------------------------------------------------------------------------------------------------------------

_STUCK: Final = _Sql(
    """SELECT id, state, next_at FROM notifier_pages
       WHERE next_at IS NOT NULL AND rank IN (0, 1) AND next_at < :before AND (state = 'sending' OR delay <> 'busy')
       LIMIT :limit"""
)
_LATE: Final = _Sql(
    """SELECT id, due_at, error FROM (
         SELECT id, due_at, delay, error FROM notifier_pages
         WHERE next_at IS NOT NULL AND rank IN (0, 1) ORDER BY rank, next_at LIMIT 1000) AS pages
       WHERE due_at < :before AND delay NOT IN ('quiet_hours', 'budget') ORDER BY due_at LIMIT :limit"""
)


def pages_move(connection: Connection, time: AuditTime) -> AuditFinding | None:
    """Find pages between claim and record whose lease has ended, and due pages that no process claims."""
    rows = _STUCK.rows(connection, limit=NUMBER_MAX, before=time.real_before(OVERDUE))
    one, several = "a page is stuck", "{} pages are stuck"
    return _found("page_stuck", rows, one, several, lambda row: f"page {row.id}, {row.state} since {_at(row.next_at)}")


def pages_arrive(connection: Connection, time: AuditTime) -> AuditFinding | None:
    """Find pages that a rate limit, a busy channel or an outage delays."""
    rows = _LATE.rows(connection, limit=NUMBER_MAX, before=time.business_before(LATE))
    one, several = "a page is late", "{} pages are late"
    return _found(
        "page_late", rows, one, several, lambda row: f"page {row.id}, due {_at(row.due_at)}: {row.error or 'waits'}"
    )


_AHEAD: Final = _Sql(
    """SELECT lead_id, created_at FROM notifier_pages /* INDEXED BY notifier_pages_by_time */
       WHERE created_at > :after ORDER BY created_at DESC LIMIT :limit"""
)
AHEAD: Final = timedelta(minutes=5)


def pages_are_of_the_past(connection: Connection, time: AuditTime) -> AuditFinding | None:
    """Find pages made later than now: the clock of the host was ahead, and was set back.

    The times of their leads lie ahead too, and so do the next rungs.
    """
    rows = _AHEAD.rows(connection, limit=NUMBER_MAX, after=micros(time.business + AHEAD))
    one, several = "a page is of later than now", "{} pages are of later than now"
    return _found("time_ahead", rows, one, several, lambda row: f"lead {row.lead_id}, paged at {_at(row.created_at)}")


# --- records ----------------------------------------------------------------------------------------------------------

_UNREAD: Final = _Sql(
    """SELECT consumer, topic, at FROM (
         SELECT consumer, topic, (
           SELECT log.at FROM log WHERE log.topic = cursors.topic AND log.partition = cursors.partition
           AND log.id > cursors.position ORDER BY log.id LIMIT 1) AS at
         FROM cursors) AS oldest
       WHERE at < :before ORDER BY at LIMIT :limit"""
)


def records_are_read(connection: Connection, time: AuditTime) -> AuditFinding | None:
    """Find, on the embedded profile, topics with a record that a service has not read."""
    rows = _UNREAD.rows(connection, limit=NUMBER_MAX, before=time.real_before(UNPUBLISHED))
    one, several = "a record has waited for more than 30 s", "records of {} topics have waited for more than 30 s"
    return _found("record_waits", rows, one, several, lambda row: f"{row.consumer} of {row.topic}, since {_at(row.at)}")


def records_are_published(partitions: int) -> Check:
    """Return the check, on the distributed profile, for partitions with a record that is not published."""
    places = outbox.waiting_values(partitions)

    def check(connection: Connection, time: AuditTime) -> AuditFinding | None:
        before, since = time.real_before(UNPUBLISHED), outbox.since(outbox.WAITING.all(connection, **places))
        rows = sorted((at, place) for place, at in since.items() if at < before)[:NUMBER_MAX]
        one, several = (
            "a record is unpublished for more than 30 s",
            "{} partitions have records unpublished for more than 30 s",
        )
        return _found("record_waits", rows, one, several, lambda row: f"{row[1][0]}/{row[1][1]}, since {_at(row[0])}")

    return check


# --- sources ----------------------------------------------------------------------------------------------------------

_COUNTS: Final = _Sql(
    "SELECT source, hour, events FROM reporting_sources WHERE hour >= :first ORDER BY hour DESC LIMIT :limit"
)
SOURCE_SILENT: Final = "source_silent"
COUNTS_MAX: Final = 50_000
SILENT_MAX: Final = 20


def sources_send(connection: Connection, time: AuditTime) -> list[AuditFinding]:
    """Find the sources that fell silent, compared with the same hours of the weeks before."""
    hour = hour_of(time.business)
    counts: dict[str, dict[int, int]] = {}
    for row in _COUNTS.rows(connection, first=hour - HOURS_KEPT, limit=COUNTS_MAX):
        counts.setdefault(row.source, {})[row.hour] = row.events
    return [_silence_finding(silence) for silence in islice(silences(counts, hour), SILENT_MAX)]


_OUTCOMES: Final = _Sql(
    "SELECT source, hour, outcome, number, last_at FROM gateway_sources WHERE hour >= :first ORDER BY hour DESC LIMIT :limit"
)
SOURCE_SURGE: Final = "source_surge"
SURGE_LASTS: Final = timedelta(minutes=15)


def sources_surge(connection: Connection, time: AuditTime) -> list[AuditFinding]:
    """Find the sources beyond twice their quota, and those beyond ten times their usual number of that hour."""
    hour, since = hour_of(time.business), micros(time.business - SURGE_LASTS)
    counts: dict[str, dict[int, int]] = {}
    texts: dict[str, str] = {}
    for row in _OUTCOMES.rows(connection, first=hour - HOURS_KEPT, limit=COUNTS_MAX):
        if row.source.startswith(IMPORTED):
            continue  # a person sends a list at any hour
        if row.outcome in (ACCEPTED, QUARANTINED):
            by_hour = counts.setdefault(row.source, {})
            by_hour[row.hour] = by_hour.get(row.hour, 0) + row.number
        elif row.outcome == SURGE and row.last_at >= since:
            texts[row.source] = f"the source {row.source} sends more than twice its quota"
    for surge in surges(counts, hour):
        usual = f"{surge.usual:.0f} in the same hour of the weeks before"
        text = f"the source {surge.source} sent {surge.events} events since {moment(surge.hour * HOUR):%H:%M} UTC, and {usual}"
        texts.setdefault(surge.source, text)
    return [AuditFinding(SOURCE_SURGE, 1, text, source) for source, text in islice(sorted(texts.items()), SILENT_MAX)]


def _silence_finding(silence: Silence) -> AuditFinding:
    expected = ", ".join(map(str, silence.expected))
    text = (
        f"the source {silence.source} has sent nothing since {moment(silence.since * HOUR):%a %d %b %H:%M} UTC; "
        f"in the same hours of the weeks before it sent {expected} events"
    )
    return AuditFinding(SOURCE_SILENT, 1, text, silence.source)


def _at(us: int) -> str:
    return f"{moment(us):%Y-%m-%d %H:%M:%S} UTC"


LEAD_CHECKS: Final[tuple[Check, ...]] = (
    leads_are_owned_or_queued,
    rungs_fire,
    pages_move,
    pages_arrive,
    pages_are_of_the_past,
)
"""The checks of both profiles that need no state between two runs."""
