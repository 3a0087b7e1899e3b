"""The intake of the topic `inbound` in a unit: quotas, quarantine, unmatched bodies, counts and metrics."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import DEFAULT
from firsthour.runtime.eventlog.inbound_record import InboundRecord
from firsthour.runtime.storage.unit import Unit
from services.gateway import inbound, quarantine
from services.gateway.inbound import InboundIntake
from services.gateway.quotas import RECORD_COUNTS_MAX
from services.gateway.source_counts import counts
from tests.unit.gateway.harness import GatewayHarness

SOURCES = """sources:
  - {id: shop, kind: kafka, producers: [/shop], types: [form.submitted, page.viewed], quota: {per_minute: 3}}
  - id: orders
    kind: kafka
    producers: [/orders]
    events: [{type: custom.order, when: "type == 'order'", email: data.mail}]
"""
HEADERS = (("content-type", b"application/cloudevents+json"),)
MINUTE = 60.0


@pytest.fixture
def intake(harness: GatewayHarness) -> InboundIntake:
    harness.configure(SOURCES)
    intake = InboundIntake(DEFAULT)
    intake.telemetry = harness.telemetry
    return intake


def record(n: int, written_at: float | None = 0.0, **changes: Any) -> InboundRecord:
    """Return a page view of a person of its own."""
    event = {"specversion": "1.0", "id": str(n), "source": "/shop", "type": "page.viewed", **changes}
    event.setdefault("data", {"email": f"p{n}@acme{n}.example", "path": "/"})
    return InboundRecord(n + 1, "", f"inbound/0/{n}", json.dumps(event).encode(), HEADERS, written_at)


def demo(n: int, written_at: float = 0.0) -> InboundRecord:
    """Return a request for contact."""
    data = {"email": f"p{n}@acme{n}.example", "form": "demo-request"}
    return record(n, written_at, type="form.submitted", data=data)


async def hear(harness: GatewayHarness, intake: InboundIntake, *records: InboundRecord) -> int:
    """Handle records in a unit, as the worker does. Return the number of accepted events."""
    before = len(harness.units.rows)
    after: list[Any] = []

    def work(unit: Unit) -> None:
        intake.hear(records, unit)
        after.extend(unit.after)

    await harness.units.run(work)
    for call in after:
        call()
    return len(harness.units.rows) - before


def held(harness: GatewayHarness) -> Sequence[str]:
    with harness.units.engine.connect() as connection:
        return [row.key for row in quarantine.page(connection, quarantine.FIRST, 100)]


def counted(harness: GatewayHarness) -> dict[tuple[str, str], int]:
    with harness.units.engine.connect() as connection:
        return {(row.source, row.outcome): row.number for row in connection.execute(counts.select())}


async def test_records_beyond_the_quota_are_quarantined_but_no_request(
    harness: GatewayHarness, intake: InboundIntake
) -> None:
    assert await hear(harness, intake, *(record(n) for n in range(2))) == 2
    assert await hear(harness, intake, record(2), record(3), demo(4), record(5)) == 2
    assert sorted(held(harness)) == ["p3@acme3.example", "p5@acme5.example"]
    assert counted(harness) == {("shop", "accepted"): 4, ("shop", "quarantined"): 2}


async def test_quota_counts_by_the_minute_in_which_records_were_written(
    harness: GatewayHarness, intake: InboundIntake
) -> None:
    waited = [record(n, written_at=n * MINUTE / 3) for n in range(30)]  # three a minute, read at once
    assert await hear(harness, intake, *waited) == 30
    assert await hear(harness, intake, *(record(n, written_at=30 * MINUTE) for n in range(30, 36))) == 3


async def test_record_without_a_time_counts_when_it_is_read(harness: GatewayHarness, intake: InboundIntake) -> None:
    assert await hear(harness, intake, *(record(n, written_at=None) for n in range(5))) == 3


async def test_unit_that_is_rolled_back_counts_nothing(harness: GatewayHarness, intake: InboundIntake) -> None:
    def work(unit: Unit) -> None:
        intake.hear([record(n) for n in range(3)], unit)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await harness.units.run(work)
    assert await hear(harness, intake, *(record(n) for n in range(3))) == 3


async def test_surge_is_counted_beyond_twice_the_quota(harness: GatewayHarness, intake: InboundIntake) -> None:
    await hear(harness, intake, *(record(n) for n in range(8)))
    assert counted(harness)["shop", "surge"] == 2


async def test_record_for_a_full_quarantine_is_a_dead_letter(
    harness: GatewayHarness, intake: InboundIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "ROWS_MAX", 1)
    await hear(harness, intake, *(record(n) for n in range(4)))
    harness.clock.advance(seconds=inbound.LOOK_SECONDS)
    assert await hear(harness, intake, record(4), demo(5)) == 1
    assert (len(held(harness)), counted(harness)["shop", "limit"]) == (1, 1)
    [letter] = harness.letters
    assert (letter.source, letter.origin) == ("shop", "inbound/0/4")
    assert "the quarantine of the source is full" in letter.error


async def test_unmatched_record_is_counted_and_a_sample_kept_after_the_commit(
    harness: GatewayHarness, intake: InboundIntake
) -> None:
    refunds = [record(n, source="/orders", type="refund") for n in range(3)]

    def fail(unit: Unit) -> None:
        intake.hear(refunds, unit)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await harness.units.run(fail)
    assert await hear(harness, intake, *refunds) == 0
    assert await hear(harness, intake, record(3, source="/orders", type="refund")) == 0
    with harness.units.engine.connect() as connection:
        [letter] = dead_letters.find_by_state(connection, "unmatched", 100)
    assert (letter.source, counted(harness)["orders", "nothing matched"]) == ("orders", 4)


async def test_accepted_events_and_dead_letters_are_metrics(harness: GatewayHarness, intake: InboundIntake) -> None:
    await hear(
        harness,
        intake,
        record(1),
        record(2, type="touch.recorded"),
        record(3, source="/orders", type="order", data={"mail": "a@b.example"}),
    )
    value = harness.telemetry.registry.get_sample_value
    assert value("events_accepted_total", {"source": "shop"}) == 1
    assert value("events_accepted_total", {"source": "orders"}) == 1
    assert value("dead_letters_total", {"consumer": "gateway"}) == 1


async def test_memory_of_counts_is_bounded(harness: GatewayHarness, intake: InboundIntake) -> None:
    for start in range(0, RECORD_COUNTS_MAX, 500):
        await hear(harness, intake, *(record(n, written_at=n * MINUTE) for n in range(start, start + 500)))
    assert len(intake.counts) == RECORD_COUNTS_MAX
