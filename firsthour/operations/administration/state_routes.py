"""The routes of the state of an installation: readiness, lag, spool, versions, and what the audit found."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from sqlalchemy.engine import Connection

from firsthour.operations import drain
from firsthour.operations.administration.roles import Admin, Manager
from firsthour.operations.audit.auditor import REMEDIES, check_of
from firsthour.operations.profile_checks import ProfileChecks
from firsthour.runtime.eventlog import dead_letters, outbox
from firsthour.runtime.eventlog.outbox import OutboxAge
from firsthour.runtime.http.app import Readiness
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import StorageError
from firsthour.runtime.version import VERSION
from services.notifier.store.findings import OpenFinding, open_findings

LOOK_SECONDS: Final = 3.0
"""The longest wait for the ends of the topics, which a silent broker does not state."""


class ServiceProgress(NamedTuple):
    """How far the services are. `problem`: why it is unknown."""

    lag: list[dict[str, Any]] | None = None
    unpublished: OutboxAge | None = None
    dead_letters: dict[str, int] | None = None
    problem: str | None = None


def state_router(resources: Resources, profile: ProfileChecks, ready: Callable[[], Readiness]) -> APIRouter:
    """Return the routes. `ready`: returns the state of this process."""
    api = APIRouter(tags=["administration"])
    ends = profile.ends(resources)

    @api.get("/v1/state")
    async def state(principal: Admin) -> dict[str, Any]:
        """Return the state of this installation.

        `ready`, `checks`, `warnings` and `spool` are those of the process that answers: each gateway has a spool of its own.
        `lag`: the records that each consumer has not handled yet. `unpublished`: how long the oldest record waits for the
        broker. `dead_letters`: those that wait, by consumer. `problem`: why these three are null.
        """
        readiness, progress = ready(), await _progress(resources, ends)
        waiting = progress.unpublished
        return {
            "at": resources.clock.real(),
            "version": VERSION,
            "profile": "distributed" if resources.settings.distributed else "embedded",
            "agreement": resources.config.current.version,
            "ready": readiness.ready,
            "checks": readiness.checks,
            "warnings": readiness.warnings,
            "spool": None if readiness.spooled is None else {"events": readiness.spooled},
            "lag": progress.lag,
            "unpublished": None
            if waiting is None
            else {"seconds": waiting.waited.total_seconds(), "topic": waiting.place[0], "partition": waiting.place[1]},
            "dead_letters": progress.dead_letters,
            "problem": progress.problem,
        }

    @api.get("/v1/findings")
    async def findings(principal: Manager) -> dict[str, Any]:
        """List what the audit found and is not cured, each with its remedy. The audit looks each minute.

        `about`: the part of the installation, such as a source; empty: the whole.
        """
        found = await resources.reads(open_findings)
        return {"items": [_shown(finding) for finding in found], "next": None}

    return api


async def _progress(resources: Resources, ends: drain.TopicEnds) -> ServiceProgress:
    partitions, now = resources.settings.kafka_partitions, resources.clock.real()

    def look(connection: Connection) -> tuple[dict[str, int], OutboxAge | None]:
        waits = outbox.look(connection, partitions, now) if resources.settings.distributed else None
        return dead_letters.counts(connection), waits

    try:
        async with asyncio.timeout(LOOK_SECONDS):
            letters, waits = await resources.reads(look)
            lag = await drain.lags(resources, ends)
    except TimeoutError:
        return ServiceProgress(
            problem=ends.problem or f"neither database nor broker has answered within {LOOK_SECONDS:.0f} s"
        )
    except StorageError as error:
        return ServiceProgress(problem=str(error))
    return ServiceProgress([one._asdict() for one in lag], waits, letters)


def _shown(finding: OpenFinding) -> dict[str, Any]:
    check = check_of(finding)
    return {
        "check": check,
        "about": finding.about,
        "since": finding.since,
        "seen_at": finding.seen_at,
        "number": finding.number,
        "text": finding.text,
        "remedy": REMEDIES.get(check, ""),
    }
