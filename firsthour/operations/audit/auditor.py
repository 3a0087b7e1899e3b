"""The runner of the audit: it looks each minute, keeps what it found, and sends a heartbeat while it works.

The heartbeat goes to an address outside, whose service raises the alarm when it stays away. A finding does not stop it: the
operator is told of findings in other ways. A failure of the audit itself does.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy.engine import Connection

from firsthour.operations.audit.checks import (
    LEAD_CHECKS,
    SOURCE_SILENT,
    SOURCE_SURGE,
    AuditFinding,
    AuditTime,
    Check,
    clockless_finding,
    find_clockless,
    sources_send,
    sources_surge,
)
from firsthour.operations.audit.heartbeat import Heartbeat
from firsthour.operations.audit.unmapped import SOURCE_UNMAPPED, sources_are_mapped
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Lane, Unit
from services.notifier.domain.notice import MARKETING, OPERATOR, SALES
from services.notifier.store.findings import OpenFinding, end_findings, findings_of, lock_findings, save_findings
from services.notifier.telling import tell

SEEN_TWICE: Final = frozenset({"page_late"})
"""Checks whose finding counts from the second look on: a page whose hours have just begun is due since the evening before."""
REMEDIES: Final = {
    "lead_forgotten": "Assign the lead to a rep. `firsthour verify` names all of them.",
    "clock_missing": "Tell its owner of the lead. `firsthour verify` names all of them; look for dead letters of the notifier.",
    "rung_overdue": "See whether a process of the notifier runs, and its log and /readyz.",
    "page_stuck": "See whether a process of the notifier runs, and its log and /readyz.",
    "page_late": "See /readyz and `firsthour doctor` for the channel.",
    "time_ahead": "The clock of a host was ahead. Keep it right (NTP). Until these times have come, the next pages of these leads "
    "come late: assign each anew by hand, or call. `firsthour doctor` names more.",
    "record_waits": "See /readyz of each service for a stopped consumer, and the database and the broker.",
    SOURCE_SURGE: "See `firsthour sources`, `firsthour quarantine list` and `firsthour bursts list`. If it is genuine, the quota of the "
    "source in sources.yaml may be too small.",
    SOURCE_SILENT: "See whether its forms, webhooks and keys still work. It may also be a holiday.",
    SOURCE_UNMAPPED: "Correct its mapping in sources.yaml. One command then retries the kept deliveries.",
}
"""What the operator does about the finding of each check."""
_TEAMS: Final = {SOURCE_SILENT: (MARKETING,), SOURCE_UNMAPPED: (MARKETING,), SOURCE_SURGE: (MARKETING, SALES)}
TOLD_HOURLY: Final = frozenset({SOURCE_UNMAPPED})
"""Checks that count what is new. They are told again after an hour if there is more, and their end is not told."""
HOUR: Final = timedelta(hours=1)
AUDITOR: Final = "operations.auditor"
EVERY_SECONDS: Final = 60.0
SILENCE_RUNS: Final = 10
"""One look at the history of the sources in so many audits: their silence is a matter of hours."""
AUDIT_SECONDS_MAX: Final = 45.0
FAILING_AFTER: Final = timedelta(minutes=3)
"""How long after the last whole audit its absence is a warning."""

_log = structlog.get_logger(__name__)


class FindingChanges(NamedTuple):
    """The findings that are open after one audit, and those that have begun or ended with it."""

    open: Sequence[OpenFinding]
    begun: Sequence[OpenFinding]
    ended: Sequence[OpenFinding]


class Auditor:
    """Audits one installation. Each process of the notifier has one: they find the same, and store one row for each check."""

    name = AUDITOR

    def __init__(self, resources: Resources, records: Check, heartbeat: Heartbeat) -> None:
        """`records`: the check for records that wait, of this profile."""
        self._resources = resources
        self._checks = (*LEAD_CHECKS, records)
        self._heartbeat = heartbeat
        self._due = resources.clock.monotonic() + EVERY_SECONDS  # the timers have a minute to catch up after a start
        self._whole_at = resources.clock.real()  # the last audit that could look at everything
        self._open: Sequence[OpenFinding] = ()
        self._runs = 0
        self._seen: set[str] = set()  # checks that found something in the last look
        self._silent: Sequence[AuditFinding] = ()  # of the last look at the sources
        self._after = ""  # where the next slice of leads begins
        self._cycle: list[Any] = []  # leads without their clock in this walk over all slices
        self._last_cycle: list[Any] = []  # and in the walk before

    async def step(self) -> bool:
        """Audit if a minute has passed."""
        if self._resources.clock.monotonic() >= self._due:
            self._due = self._resources.clock.monotonic() + EVERY_SECONDS
            await self.audit()
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.audit()

    async def audit(self) -> None:
        """Look once, store what was found, and send the heartbeat. A failure is logged, and the heartbeat left out."""
        try:
            async with asyncio.timeout(AUDIT_SECONDS_MAX):
                found = await self._resources.reads(self._examine)
                changes = await self._resources.units.run(partial(_stored, found=found), Lane.BATCH)
        except Exception as failure:  # noqa: BLE001  # the audit must not end: it reports the failure and looks again
            _log.error("audit failed", error_type=type(failure).__name__, problem=str(failure)[:500])
            self._resources.telemetry.audit("failed")
            return
        self._whole_at = self._resources.clock.real()
        self._report(changes)
        await self._heartbeat.send(self._whole_at)

    def warnings(self) -> list[str]:
        """Return the warnings of `/readyz`: what was found, and an audit or a heartbeat that fails."""
        lines = [f"audit: {one.text} (since {one.since:%Y-%m-%d %H:%M} UTC)" for one in self._open]
        if self._resources.clock.real() - self._whole_at > FAILING_AFTER:
            lines.append(f"the audit has not worked since {self._whole_at:%Y-%m-%d %H:%M} UTC; see the log")
        return lines + self._heartbeat.warnings()

    def _examine(self, connection: Connection) -> list[AuditFinding]:
        """Run every check on one snapshot."""
        time = AuditTime.of(self._resources.clock)
        found = [check(connection, time) for check in self._checks]
        clockless = find_clockless(connection, time, self._after)
        self._cycle += clockless.rows
        self._after = clockless.after
        if not self._after:
            self._last_cycle, self._cycle = self._cycle, []
        missing = {row.lead_id: row for row in (*self._last_cycle, *self._cycle)}
        found.append(clockless_finding(list(missing.values())))
        if self._runs % SILENCE_RUNS == 0:
            self._silent = sources_send(connection, time)
        told = {one.about: one.since for one in findings_of(connection, SOURCE_UNMAPPED)}
        found += sources_surge(connection, time)
        self._runs += 1
        seen, self._seen = self._seen, {finding.check for finding in found if finding is not None}
        lasting = (one for one in found if one is not None and (one.check not in SEEN_TWICE or one.check in seen))
        return [*lasting, *self._silent, *sources_are_mapped(connection, time, told)]

    def _report(self, changes: FindingChanges) -> None:
        """Log what began and ended, and show what is open."""
        for one in changes.begun:
            _log.error("audit finding", check=one.check, number=one.number, text=one.text)
        for one in changes.ended:
            _log.info("audit finding ended", check=one.check, text=one.text)
        self._open = changes.open
        self._resources.telemetry.audit("done")
        numbers: Counter[str] = Counter()
        for one in changes.open:
            numbers[check_of(one)] += one.number
        self._resources.telemetry.findings(numbers)


def _stored(unit: Unit, found: Sequence[AuditFinding]) -> FindingChanges:
    """Compare what was found with what was found before, and store it. A finding begins once, and ends when it is cured."""
    before = {one.check: one for one in lock_findings(unit)}
    real = unit.clock.real()
    lines = {one.key: one.lines for one in found}
    after = [_continued(before.get(one.key), one, real) for one in found]
    after += [one for one in before.values() if one.check not in lines and _lasts(one, real)]
    ended = [one for name, one in before.items() if name not in {new.check for new in after}]
    begun = [one for one in after if one.check not in before or one.since != before[one.check].since]
    save_findings(unit, after)
    end_findings(unit, [one.check for one in ended])
    for one in begun:
        told = (*lines[one.check], REMEDIES[check_of(one)])
        for team in _teams(one):
            tell(unit, team, key=_key(one), subject=f"Audit: {one.text}", lines=told)
    for one in ended:
        for team in _teams(one) if check_of(one) not in TOLD_HOURLY else ():
            tell(unit, team, key=f"{_key(one)} over", subject=f"Audit: over since {real:%H:%M} UTC: {one.text}")
    return FindingChanges(after, begun, ended)


def _lasts(one: OpenFinding, real: datetime) -> bool:
    """Tell whether a finding that is told once an hour stays, so that the next one is told when the hour is over."""
    return check_of(one) in TOLD_HOURLY and real - one.since < HOUR


def check_of(one: OpenFinding) -> str:
    """Return the check of a stored finding: its name goes on with the part that it is about."""
    return one.check.partition(" ")[0]


def _teams(one: OpenFinding) -> tuple[str, ...]:
    """Return the teams that are told: sources belong to Marketing, and what they send too much concerns Sales as well."""
    return _TEAMS.get(check_of(one), (OPERATOR,))


def _key(one: OpenFinding) -> str:
    """Return the key of a notice: a finding that comes and goes is told once an hour at most."""
    moment = f"{one.since:%Y-%m-%dT%H:%M:%S}" if check_of(one) in TOLD_HOURLY else f"{one.since:%Y-%m-%dT%H}"
    return f"audit {one.check} {moment}"


def _continued(before: OpenFinding | None, found: AuditFinding, real: datetime) -> OpenFinding:
    if found.check in TOLD_HOURLY and (before is None or real - before.since >= HOUR):
        since = found.until or real
    else:
        since = before.since if before is not None else real
    return OpenFinding(found.key, since, real, found.number, found.text)
