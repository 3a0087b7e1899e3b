"""The rows of an installation, which tests corrupt: in its SQLite file, or in PostgreSQL as a distributed installation."""

from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from firsthour.operations.verify import invariants
from firsthour.operations.verify.invariants import VerifyReport
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.records import log
from schemas import topics
from tests.hand_clock import HandClock
from tests.unit.operations.harness import OperationsHarness

PARTITIONS = 3


class InstallationRows(Protocol):
    """Rows that a test changes without the services, and the report of verify about them."""

    clock: HandClock

    async def rows(self, question: str) -> list[tuple[Any, ...]]: ...

    async def break_by(self, *statements: str, **values: Any) -> None:
        """Run each statement with all values, in order, in place of its question marks."""

    async def report(self, **how: Any) -> VerifyReport: ...


async def broken(rows: InstallationRows, **how: Any) -> dict[str, tuple[str, ...]]:
    """Return the rows named by each broken invariant."""
    return {result.invariant: result.rows for result in (await rows.report(**how)).findings if not result.ok}


async def lead_id(rows: InstallationRows, person: str) -> str:
    [(id,)] = await rows.rows(f"SELECT lead_id FROM router_leads WHERE email = '{person}@{person}.example'")
    return str(id)


@dataclass
class EmbeddedRows:
    """The rows in the SQLite file of an installation, in a transaction that is never committed."""

    connection: Connection
    clock: HandClock

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.exec_driver_sql(question)]

    async def break_by(self, *statements: str, **values: Any) -> None:
        for statement in statements:
            self.connection.exec_driver_sql(statement, tuple(values.values()) if "?" in statement else ())

    async def report(self, **how: Any) -> VerifyReport:
        return invariants.run(self.connection, self.clock, **how)


@dataclass
class PostgresRows:
    """The rows in PostgreSQL, in a transaction that is never committed."""

    connection: AsyncConnection
    clock: HandClock

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.connection.exec_driver_sql(question)]

    async def break_by(self, *changes: str, **values: Any) -> None:
        for statement in changes:
            n = count(1)
            text = "".join(f"${next(n)}" if letter == "?" else letter for letter in statement)
            await self.connection.exec_driver_sql(text, tuple(values.values()) if "?" in statement else ())

    async def report(self, **how: Any) -> VerifyReport:
        return await self.connection.run_sync(lambda connection: invariants.run(connection, self.clock, **how))


async def fill(url: str, harness: OperationsHarness) -> None:
    """Copy the rows of this installation into an empty database: without an outbox, with cursors in each partition.

    Over Kafka, consumers note the records of units as well.
    """
    tables = [table for table in statements.metadata.sorted_tables if table is not log]

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        return {table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))] for table in tables}

    rows_of = await harness.system.reads(read)
    rows_of["cursors"] = [{**row, "partition": n} for row in rows_of["cursors"] for n in range(PARTITIONS)]
    rows_of["seen"] += [
        {"consumer": consumer, "event_id": record["id"], "day": rows_of["seen"][0]["day"]}
        for record in rows_of["reporting_history"]
        if record["topic"] in topics.IDS_OF_UNITS
        for consumer in topics.READ_BY[record["topic"]]
    ]

    def write(connection: Connection) -> None:
        migrate(connection)
        for table in tables:
            if rows_of[table.name]:
                connection.execute(sa.insert(table), rows_of[table.name])

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(write)
    await engine.dispose()
