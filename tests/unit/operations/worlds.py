"""Leads in every state, for the tests of `verify`."""

from tests.unit.operations.harness import OperationsHarness


async def live(harness: OperationsHarness) -> None:
    """Create leads that are owned, touched, reassigned, with Marketing and opted out."""
    await harness.ask("ann", "ben", "cat", "dan", "eve", "fay")
    await harness.act("ben", "touch", channel="phone", answered=True)
    await harness.wait(minutes=16)
    await harness.act("dan", "reject", reason="not-now")
    await harness.act("eve", "opt-out", reason="asked")
    await harness.act("fay", "reject", reason="no-time")
    await harness.wait(minutes=30)


async def varied(harness: OperationsHarness) -> None:
    """Create the leads of `live`, queued, recycled and accepted leads, changes of availability, and cancelled pages."""
    await live(harness)
    await harness.ask("ivy")
    await harness.act("ivy", "accept")
    await harness.wait(minutes=16)
    await harness.act("ben", "recycle", reason="stalled")
    for rep in ("noor", "tom", "lea"):
        await harness.available(rep, False)
    await harness.ask("gil")
    await harness.available("tom", True)
    await harness.available("tom", False)
    await harness.ask("hal")
    await harness.wait(minutes=2)
