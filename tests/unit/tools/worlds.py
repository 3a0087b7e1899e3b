"""Leads in every way of being, for the tests of `verify`."""

from tests.unit.tools.harness import OperationsHarness


async def live(room: OperationsHarness) -> None:
    """Leads that are owned, touched, accepted, reassigned, with Marketing, opted out."""
    await room.ask("ann", "ben", "cat", "dan", "eve", "fay")
    await room.act("ben", "touch", channel="phone", answered=True)
    await room.wait(minutes=16)
    await room.act("dan", "reject", reason="not-now")
    await room.act("eve", "opt-out", reason="asked")
    await room.act("fay", "reject", reason="no-time")
    await room.wait(minutes=30)


async def varied(room: OperationsHarness) -> None:
    """As `live`, with more: leads that wait, a lead recycled, one accepted, reps who went and came, cancelled pages."""
    await live(room)
    await room.ask("ivy")
    await room.act("ivy", "accept")
    await room.wait(minutes=16)
    await room.act("ben", "recycle", reason="stalled")
    for rep in ("noor", "tom", "lea"):
        await room.available(rep, False)
    await room.ask("gil")
    await room.available("tom", True)
    await room.available("tom", False)
    await room.ask("hal")
    await room.wait(minutes=2)
