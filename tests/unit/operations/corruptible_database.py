"""The rows of an installation, to be broken: in its own SQLite file, or in PostgreSQL as they stand past one machine."""

from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from firsthour.operations.verify import invariants
from firsthour.operations.verify.invariants import VerifyReport
from firsthour.runtime.storage import statements as db
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.records import log
from tests.hand_clock import HandClock
from tests.unit.operations.harness import OperationsHarness

PARTITIONS = 3


class Copy(Protocol):
    """Rows that a test changes behind everybody's back, and what verify says of them."""

    clock: HandClock

    async def rows(self, question: str) -> list[tuple[Any, ...]]: ...

    async def break_by(self, *statements: str, **values: Any) -> None:
        """Each statement with all values, in their order, for its question marks."""

    async def report(self, **how: Any) -> VerifyReport: ...

    def said(self, was: str, now: str) -> str:
        """The SQL of a record's body with one text in place of another."""


async def broken(copy: Copy, **how: Any) -> dict[str, tuple[str, ...]]:
    """The invariants that do not hold, with the rows named."""
    return {one.invariant: one.rows for one in (await copy.report(**how)).findings if not one.ok}


async def lead_id(copy: Copy, person: str) -> str:
    [(found,)] = await copy.rows(f"SELECT lead_id FROM router_leads WHERE email = '{person}@{person}.example'")
    return str(found)


class EmbeddedRows:
    """The rows where they are."""

    def __init__(self, harness: OperationsHarness) -> None:
        self._harness = harness
        self.clock = harness.clock

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return await self._harness.rows(question)

    async def break_by(self, *statements: str, **values: Any) -> None:
        await self._harness.break_by(*statements, **values)

    async def report(self, **how: Any) -> VerifyReport:
        return await self._harness.report(**how)

    def said(self, was: str, now: str) -> str:
        return f"CAST(replace(CAST(body AS TEXT), '{was}', '{now}') AS BLOB)"


@dataclass
class PastOneMachine:
    """The rows in PostgreSQL, in a transaction that is never committed."""

    connection: AsyncConnection
    clock: HandClock

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.connection.exec_driver_sql(question)]

    async def break_by(self, *statements: str, **values: Any) -> None:
        for statement in statements:
            n = count(1)
            text = "".join(f"${next(n)}" if letter == "?" else letter for letter in statement)
            await self.connection.exec_driver_sql(text, tuple(values.values()) if "?" in statement else ())

    async def report(self, **how: Any) -> VerifyReport:
        return await self.connection.run_sync(lambda connection: invariants.run(connection, self.clock, **how))

    def said(self, was: str, now: str) -> str:
        return f"convert_to(replace(convert_from(body, 'UTF8'), '{was}', '{now}'), 'UTF8')"


async def fill(url: str, harness: OperationsHarness) -> None:
    """Bring the rows of this installation into an empty database: everything published, cursors in each partition."""
    tables = [table for table in db.metadata.sorted_tables if table is not log]

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        return {table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))] for table in tables}

    found = await harness.system.reads(read)
    found["cursors"] = [{**row, "partition": n} for row in found["cursors"] for n in range(PARTITIONS)]

    def write(connection: Connection) -> None:
        migrate(connection)
        for table in tables:
            if found[table.name]:
                connection.execute(sa.insert(table), found[table.name])

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(write)
    await engine.dispose()
