"""Notices that no rung sends: each follows from a record of the lead, and a missing one is named."""

import pytest

from tests.unit.operations.harness import OperationsHarness
from tests.unit.operations.worlds import varied


@pytest.mark.parametrize(
    ("person", "kind", "text"),
    [
        ("ann", "missed", "was missed, but the notice has no page"),
        ("ann", "lost", "has no page of kind lost"),
        ("ivy", "lost", "has no page of kind lost"),
    ],
)
async def test_each_missing_notice_breaks_i5(harness: OperationsHarness, person: str, kind: str, text: str) -> None:
    await varied(harness)
    await harness.act("ivy", "touch", channel="phone", answered=False)
    await harness.act("ivy", "assign", rep="lea", force=True)
    await harness.wait(hours=1)
    assert await harness.broken() == {}
    lead = (await harness.lead(person))["id"]
    pages = await harness.rows(f"SELECT id FROM notifier_pages WHERE kind = '{kind}' AND lead_id = '{lead}'")
    assert pages
    for (page,) in pages:
        await harness.break_by(f"UPDATE notifier_pages SET lead_id = 'away' WHERE id = '{page}'")
        found = (await harness.broken(named_max=None))["I5"]
        assert any(lead in one and text in one for one in found), found
        await harness.break_by(f"UPDATE notifier_pages SET lead_id = '{lead}' WHERE id = '{page}'")
