"""Every unit locks rows in one order, so that units cannot deadlock. A claim waits for the rows that a click locks."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.util.concurrency import await_only

from firsthour.runtime.storage.unit import Unit
from schemas import topics
from services.notifier.claiming import ClaimResult, claim
from services.notifier.context import NotifierContext
from services.notifier.domain.bulkhead import Bulkhead
from tests.backends import Backends
from tests.contract.test_batches import counted_run, handle_leads

ORDER: Final = (
    ("cursors",),
    ("seen",),
    ("scoring_identities",),
    ("scoring_profiles", "router_leads", "notifier_clocks"),
    ("router_pools",),
    ("router_reps",),
    ("notifier_pages",),
    ("log",),
)
RANK: Final = {table: rank for rank, tables in enumerate(ORDER) for table in tables}
_LOCKS: Final = re.compile(r"(?:^|AS \()(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)|FROM (\w+)[\s\S]*FOR UPDATE")


def locked(texts: Sequence[str]) -> list[str]:
    """Return the tables whose rows these statements lock, in the order of their first locks."""
    tables = [match[1] or match[2] for text in texts for match in _LOCKS.finditer(text)]
    return [table for table in dict.fromkeys(tables) if table in RANK]


async def test_every_kind_of_unit_locks_tables_in_one_order(backends: Backends, tmp_path: Path) -> None:
    async with counted_run(backends, tmp_path) as run:
        await handle_leads(run, 5)
    for name, units in run.texts.items():
        for texts in units:
            tables = locked(texts)
            assert tables == sorted(tables, key=RANK.__getitem__), (name, tables)
    assert {"router_leads", "router_pools", "router_reps"} <= set(locked(run.texts["router hears leads"][0]))


async def test_page_is_not_claimed_while_a_touch_of_its_lead_is_being_stored(
    backends: Backends, tmp_path: Path
) -> None:
    async with counted_run(backends, tmp_path) as run:
        await run.post(1)
        await run.hear("scoring", topics.EVENTS)
        await run.hear("router", topics.LEADS)
        await run.hear("notifier", topics.ROUTES)
        run.world.clock.advance(minutes=2)  # the lease of the first claim has ended
        (lead,) = (await run.world.client.get("/v1/leads")).json()["items"]
        touch = {"channel": "phone", "answered": True}
        assert (await run.world.client.post(f"/v1/leads/{lead['id']}/touch", json=touch)).status_code == 200
        await run.system.publisher.step()
        batch = await run.records("notifier", topics.ROUTES)
        hears = next(one for one in run.system.services if one.name == "notifier").hears[topics.ROUTES]
        stored, commit = asyncio.Event(), asyncio.Event()

        def store(unit: Unit) -> None:
            hears(batch, unit)
            stored.set()
            await_only(commit.wait())

        touching = asyncio.create_task(run.system.units.run(store))
        await stored.wait()
        context = NotifierContext(("slack", "email"), bulkhead=Bulkhead(closed=False))
        claiming = asyncio.create_task(run.system.units.run(lambda unit: claim(unit, context, 20)))
        await until_blocked(run.world.rows, claiming)
        commit.set()
        await touching
        claimed: ClaimResult = await claiming
        assert claimed.claims == ()


async def until_blocked(rows, claiming: "asyncio.Task[ClaimResult]") -> None:  # type: ignore[no-untyped-def]  # see systems
    """Wait until the claim waits for a lock, or has ended because no row was locked."""
    lock_waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not claiming.done() and (await rows(lock_waits))[0][0] == 0:
        await asyncio.sleep(0)
