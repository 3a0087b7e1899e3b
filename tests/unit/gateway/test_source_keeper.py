"""The counts of sources: stored at intervals, and when the process stops."""

import asyncio

from services.gateway.source_counts import summaries
from tests.unit.gateway.harness import GatewayHarness


async def test_counts_are_stored_when_the_process_stops(harness: GatewayHarness) -> None:
    await harness.event({"id": "1", "type": "page.viewed", "email": "ann@acme.example"})
    keeper = next(runner for runner in harness.gateway.runners if runner.name == "gateway.sources")
    running = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with harness.units.engine.begin() as connection:
        assert [one.accepted for one in summaries(connection, harness.clock.business(), 1).values()] == [1]
