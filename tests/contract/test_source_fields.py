"""The list of fields that were not understood: bounded, and a new field is listed however many names were invented."""

from collections.abc import Iterable
from datetime import UTC, datetime

from schemas.events.base import Facts
from schemas.events.outside import ExternalEvent
from services.reporting.source_fields import NAMES_MAX, STORED_MAX, count_fields, fields_of, make_room
from tests.contract.conftest import Backend

ARRIVAL = datetime(2026, 12, 1, 9, tzinfo=UTC)


def event(*names: str, source: str = "website") -> ExternalEvent:
    """Return an event with these unknown fields."""
    person: Facts = {f"custom.{name}": "x" for name in names}
    return ExternalEvent(source=source, source_id="", received_at=ARRIVAL, person=person)


def invented(number: int, first: int = 0) -> list[str]:
    return [f"invented_{n:05}" for n in range(first, first + number)]


async def send(backend: Backend, *events: ExternalEvent) -> None:
    """Count these events in one unit, a second later, and run the tick until it has made room."""
    backend.clock.advance(seconds=1)
    await backend.units.run(lambda unit: count_fields(unit, events))
    while await backend.units.run(make_room) is not None:
        pass


async def listed(backend: Backend, source: str = "website") -> tuple[dict[str, int], int]:
    """Return the listed names with their events, and the events of the others."""
    rows, others = await backend.reads(lambda connection: fields_of(connection, source))
    return {row.name: row.events for row in rows}, others


async def flood(backend: Backend, names: Iterable[str]) -> None:
    """Send these names, two to an event, each event twice and forty events to a unit."""
    pairs = [list(pair) for pair in zip(*[iter(names)] * 2, strict=True)]
    for start in range(0, len(pairs), 20):
        await send(backend, *(event(*pair) for pair in pairs[start : start + 20] for _ in range(2)))


async def test_new_field_is_listed_after_a_flood_of_invented_names(backend: Backend) -> None:
    for _ in range(3):
        await send(backend, event("colour", "shoe_size"))
    await flood(backend, invented(2 * STORED_MAX))
    await send(backend, event("real"))

    names, others = await listed(backend)
    assert (names["real"], names["colour"], names["shoe_size"]) == (1, 3, 3)
    assert len(names) == NAMES_MAX
    assert sum(names.values()) + others == 1 + 3 + 3 + 4 * STORED_MAX  # an event that gave way still counts
    assert (await backend.rows("SELECT count(*) FROM reporting_fields"))[0][0] == NAMES_MAX + 1


async def test_new_field_is_listed_beside_a_flood_in_the_same_batch(backend: Backend) -> None:
    many = [event(*invented(100, first)) for first in range(0, 1_000, 100)]
    await send(backend, *many, event("real"), *many)
    names, others = await listed(backend)
    assert names["real"] == 1
    assert sum(names.values()) + others == 2_001


async def test_seldom_and_old_names_give_way_first(backend: Backend) -> None:
    for start in range(0, NAMES_MAX, 50):
        await send(backend, event(*invented(50, start)))
    await send(backend, event("invented_00000"))
    for n in range(60):
        await send(backend, event(f"later_{n:02}"))

    names, others = await listed(backend)
    assert set(invented(200)) - set(names) == set(invented(60, 1))
    assert (len(names), others) == (NAMES_MAX, 60)


async def test_flood_of_one_source_takes_no_name_of_another(backend: Backend) -> None:
    await send(backend, event("colour", source="partner"))
    await flood(backend, invented(STORED_MAX))
    assert await listed(backend, "partner") == ({"colour": 1}, 0)


async def test_names_stay_bounded_until_the_tick_runs(backend: Backend) -> None:
    for start in range(0, 5_000, 100):
        events = [event(*invented(100, start))]
        await backend.units.run(lambda unit, events=events: count_fields(unit, events))  # type: ignore[misc]
    assert (await backend.rows("SELECT count(*) FROM reporting_fields"))[0][0] == STORED_MAX + 1
    names, others = await listed(backend)
    assert (len(names), sum(names.values()) + others) == (NAMES_MAX, 5_000)
