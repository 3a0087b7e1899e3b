"""Leads in every way of being, for the tests of `verify`."""

from tests.unit.operations.harness import OperationsHarness


async def live(harness: OperationsHarness) -> None:
    """Leads that are owned, touched, accepted, reassigned, with Marketing, opted out."""
    await harness.ask("ann", "ben", "cat", "dan", "eve", "fay")
    await harness.act("ben", "touch", channel="phone", answered=True)
    await harness.wait(minutes=16)
    await harness.act("dan", "reject", reason="not-now")
    await harness.act("eve", "opt-out", reason="asked")
    await harness.act("fay", "reject", reason="no-time")
    await harness.wait(minutes=30)


async def varied(harness: OperationsHarness) -> None:
    """As `live`, with more: leads that wait, a lead recycled, one accepted, reps who went and came, cancelled pages."""
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
