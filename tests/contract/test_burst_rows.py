"""The rows of bursts: units of several partitions change them in any order."""

from services.router.store.bursts import BurstChange, change_bursts, find_burst
from tests.contract.conftest import Backend

RELEASED = BurstChange("b1", "", "", 1, 1, released_at=1, released_by="spread")
HELD = BurstChange("b1", "mail domain acme.example", "website", 2, 2, leads=1)


async def test_burst_that_was_confirmed_before_its_first_lead_has_its_name(backend: Backend) -> None:
    for change in (RELEASED, HELD):
        await backend.units.run(lambda unit, change=change: unit.store(change_bursts([change])))  # type: ignore[misc]
    row = await backend.reads(lambda connection: find_burst(connection, "b1"))
    assert (row.label, row.source, row.leads, row.released_by) == ("mail domain acme.example", "website", 1, "spread")
