"""The routes of verify and doctor."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from firsthour.operations import drain
from firsthour.operations.administration.roles import Admin
from firsthour.operations.doctor.finding import well
from firsthour.operations.profile_checks import ProfileChecks
from firsthour.operations.verify import invariants
from firsthour.operations.verify.invariants import VerifyReport
from firsthour.runtime.eventlog import outbox
from firsthour.runtime.processing.service import Resources


def add_check_routes(api: APIRouter, resources: Resources, profile: ProfileChecks, *, live: bool) -> None:
    """Add the routes of verify and doctor."""
    clock = resources.clock
    alive_since = clock.real() if live else None

    @api.post("/v1/verify")
    async def run_verify(principal: Admin, all: bool = False) -> dict[str, Any]:
        """Check the invariants I1 to I10. Ten rows that break each are named; with `all`, every row.

        On a live system the answer waits, 30 s at most, until all services have handled the events so far.
        """
        since = clock.business() if live else None
        behind = await drain.wait(resources, profile.ends(resources)) if live else ()
        named_max = None if all else invariants.ROWS_NAMED_MAX
        report = await resources.reads(
            lambda connection: invariants.run(
                connection, clock, since=since, alive_since=alive_since, all_read=not behind, named_max=named_max
            )
        )
        if resources.settings.distributed:
            behind = (*behind, *await _unpublished(resources))
        return _report_body(report, behind)

    @api.post("/v1/doctor")
    async def run_doctor(principal: Admin) -> dict[str, Any]:
        """Return the faults of this installation, each with its remedy."""
        findings = await profile.examine(resources.settings, clock, resources.reads)
        return {"ok": well(findings), "items": [asdict(finding) for finding in findings]}


def _report_body(report: VerifyReport, behind: tuple[str, ...]) -> dict[str, Any]:
    return {
        "ok": report.ok and not behind,
        "behind": list(behind),
        "judged": report.judged,
        "left_out": report.left_out,
        "unread": [
            {"consumer": consumer, "topic": topic, "records": records}
            for (consumer, topic), records in report.unread.items()
        ],
        "items": [
            {
                "invariant": result.invariant,
                "holds": result.holds,
                "ok": result.ok,
                "broken": result.broken,
                "rows": list(result.rows),
            }
            for result in report.findings
        ],
    }


async def _unpublished(resources: Resources) -> tuple[str, ...]:
    """Return a line about the oldest unpublished record, if it has waited for too long."""
    partitions, now = resources.settings.kafka_partitions, resources.clock.real()
    age = await resources.reads(lambda connection: outbox.look(connection, partitions, now))
    return () if age is None or age.waited < outbox.WARNING_AGE else (str(age),)
