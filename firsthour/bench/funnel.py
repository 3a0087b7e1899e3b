"""The funnel over many leads: the first view of the report, a view by group, and the cost of keeping it.

The passes are made up and written straight into their table, one after the other in time over a year. The tallies of days are
then counted as the product counts them.
"""

import random
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from firsthour.bench.fixtures import KEY, furnish
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.systems import open_embedded, run
from firsthour.bootstrap.embedded import System
from firsthour.kernel.time_units import micros
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Event
from schemas.events.leads import LeadScored, Score, Trigger
from schemas.events.routes import LeadAccepted, LeadAssigned, LeadQualified, LeadRecycled, TouchApplied
from services.reporting.domain.funnel import FunnelPass
from services.reporting.funnel_model import follow_funnel
from services.reporting.funnel_passes import DAY_US, save_passes
from services.reporting.reports.funnel_days import FUNNEL_DAYS

LEADS: Final = 100_000
LEADS_FULL: Final = 1_000_000
DAYS: Final = 390
GOAL_SECONDS: Final = 1.0
VIEWS: Final = 5
BATCH: Final = 100
BATCHES: Final = 10
_AT_ONCE: Final = 10_000
_HOUR: Final = 3_600_000_000
_WAY: Final = (
    ("qualified", 0.5),
    ("assigned", 0.98),
    ("accepted", 0.7),
    ("touch:attempt", 0.9),
    ("touch:conversation", 0.6),
    ("working", 0.99),
    ("opportunity", 0.4),
    ("customer", 0.3),
)
"""Each step with the share of leads that reach it from the one before."""
_SOURCES: Final = ("website", "partner", "webinar", "list", "chat")


def funnel(home: Path, leads: int = LEADS) -> list[BenchLine]:
    """Return the lines."""
    furnish(home)
    return run(_measure(home, leads))


async def _measure(home: Path, leads: int) -> list[BenchLine]:
    system = await open_embedded(home)
    try:
        now = system.resources.clock.business()
        empty = await _cost(system, now, "before")
        for passes in _batches(leads, now):
            await system.units.run(partial(save_passes, changed=passes))
        started = time.process_time()
        days = 0
        while await system.runners[FUNNEL_DAYS].step():
            days += 1
        counted = time.process_time() - started
        stored = await _cost(system, now, "after")
        started = time.process_time()
        first = await _views(system, "from=400d")
        cpu = (time.process_time() - started) / VIEWS
        groups = await _views(system, "from=30d&by=source")
        filtered = await _views(system, "from=30d&rep=rep1")
    finally:
        await system.close()
    note = f"{leads:,} leads over {DAYS} days"
    return [
        line("funnel, first view of a year", first[:1], "s", goal=GOAL_SECONDS, note=note),
        line("funnel, further views of a year", first[1:], "s", note=note),
        line("funnel, a view of a year, CPU", [cpu], "s", note=note),
        line("funnel, 30 days by source", groups, "s", note=note),
        line("funnel, 30 days of one rep", filtered, "s", note=note),
        line("funnel, cost of a record", stored, "us", note=f"{note}; CPU of the model alone"),
        line("funnel, cost of a record, no leads stored", empty, "us"),
        line(
            "funnel, count a day again", [counted / max(days, 1) * 1_000], "ms", note=f"{leads // DAYS:,} leads a day"
        ),
    ]


async def _views(system: System, query: str) -> list[float]:
    """Return the seconds of each view, from the request to the whole answer."""
    seconds = []
    headers = {"Authorization": f"Bearer {KEY}"}
    async with AsyncClient(transport=ASGITransport(app=system.app), base_url="http://bench") as client:
        (await client.get("/v1/pools", headers=headers)).raise_for_status()  # the first request builds the routes
        for _ in range(VIEWS):
            started = time.perf_counter()
            answer = await client.get(f"/v1/reports/funnel?{query}", headers=headers)
            seconds.append(time.perf_counter() - started)
            answer.raise_for_status()
    return seconds


def _batches(leads: int, now: datetime) -> Iterator[list[FunnelPass]]:
    chance = random.Random(5)
    begin = micros(now) - DAYS * DAY_US
    for first in range(0, leads, _AT_ONCE):
        yield [_pass(n, begin + n * DAYS * DAY_US // leads, chance) for n in range(first, min(first + _AT_ONCE, leads))]


def _pass(n: int, at: int, chance: random.Random) -> FunnelPass:
    steps, status, time_of = {"new": at}, "new", at
    for step, share in _WAY:
        if chance.random() >= share:
            break
        time_of += int(chance.expovariate(1 / (4 * _HOUR)))
        steps[step] = time_of
        status = step if ":" not in step else status
    return FunnelPass(
        lead_id=f"{at:016x}-{n}",
        start_at=at,
        source=_SOURCES[chance.randrange(5)],
        campaign=f"campaign{chance.randrange(30)}",
        form="demo-request",
        grade="ABCD"[chance.randrange(4)],
        rep=f"rep{chance.randrange(12)}" if "assigned" in steps else None,
        team="growth" if "assigned" in steps else None,
        status=status,
        status_at=time_of,
        steps=steps,
    )


async def _cost(system: System, now: datetime, name: str) -> list[float]:
    """Return the microseconds of CPU for each record, batch by batch: each batch has one record of each of many lives."""
    costs: list[float] = []
    for n in range(BATCHES):
        lives = [_life(f"{name}-{n:03}-{k:03}", now) for k in range(BATCH)]
        for events in zip(*lives, strict=True):
            seconds = await system.units.run(partial(_followed, events=events))
            costs.append(seconds / BATCH * 1e6)
    return costs


def _followed(unit: Unit, *, events: Sequence[Event]) -> float:
    leads = {str(getattr(event, "lead_id")) for event in events}  # noqa: B009  # all of them name a lead
    started = time.thread_time()
    follow_funnel(unit, events, {lead: lead for lead in leads})
    return time.thread_time() - started


def _life(lead: str, now: datetime) -> list[Event]:
    at = now - timedelta(days=1)
    trigger, score = Trigger(f"e-{lead}", "form.submitted", at, "website"), Score(60, 60, 60, "A")
    route: dict[str, Any] = {"lead_id": lead, "at": at, "epoch": 1, "by": "system"}
    return [
        LeadScored(lead_id=lead, version=1, at=at, trigger=trigger, score=score),
        LeadQualified(
            **route,
            version=1,
            status="qualified",
            was="new",
            line="Asked",
            urgency="hot",
            submit_at=at,
            score=score,
            trigger=trigger,
        ),
        LeadAssigned(
            **route,
            version=2,
            status="assigned",
            was="qualified",
            rep="rep1",
            decision_id="d",
            urgency="hot",
            submit_at=at,
            assigned_at=at,
        ),
        LeadAccepted(**route, version=3, status="accepted", was="assigned", rep="rep1"),
        TouchApplied(
            **route, version=4, status="working", was="accepted", channel="phone", answered=True, touched_at=at
        ),
        LeadRecycled(**route, version=5, status="nurturing", was="working", kind="recycle", reason="stalled"),
    ]
