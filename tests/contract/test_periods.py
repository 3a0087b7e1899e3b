"""When each version of the configuration was in force, as both databases store it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from firsthour.runtime.storage import installation
from tests.contract.conftest import Backend

START = datetime(2026, 12, 1, tzinfo=UTC)


async def take_up(backend: Backend, version: str, hours: int, loaded_by: str = "") -> None:
    await backend.units.run(
        lambda unit: installation.take_up(
            unit.connection,
            version=version,
            at=START + timedelta(hours=hours),
            agreement=f'{{"name": "{version}"}}',
            team="{}",
            loaded_by=loaded_by,
        )
    )


async def periods(backend: Backend, position: tuple[int, int] = installation.NEWEST) -> list[tuple[str, str]]:
    def read(connection: Connection) -> list[tuple[str, str]]:
        return [(row.version, row.loaded_by) for row in installation.periods_before(connection, position, 10)]

    return await backend.reads(read)


async def test_version_that_comes_back_has_another_period_and_a_restart_has_none(backend: Backend) -> None:
    for hours, version in enumerate(("one", "one", "two", "two", "one")):
        await take_up(backend, version, hours, f"by {hours}")
    assert await periods(backend) == [("one", "by 4"), ("two", "by 2"), ("one", "by 0")]


async def test_version_before_a_planned_one_is_noted_too(backend: Backend) -> None:
    await take_up(backend, "one", 0)
    await take_up(backend, "two", 48)
    await take_up(backend, "three", 1)
    await take_up(backend, "one", 2)
    assert [version for version, _ in await periods(backend)] == ["two", "one", "three", "one"]


async def test_periods_go_on_before_a_position(backend: Backend) -> None:
    for hours, version in enumerate(("one", "two", "three")):
        await take_up(backend, version, hours)

    def first(connection: Connection) -> tuple[int, int]:
        (row,) = installation.periods_before(connection, installation.NEWEST, 1)
        return row.began_at, row.id

    assert [version for version, _ in await periods(backend, await backend.reads(first))] == ["two", "one"]


async def test_agreement_of_an_unknown_version_is_none(backend: Backend) -> None:
    await take_up(backend, "one", 0)
    assert await backend.reads(lambda connection: installation.agreement_of(connection, "one")) == '{"name": "one"}'
    assert await backend.reads(lambda connection: installation.agreement_of(connection, "two")) is None
