"""A distributed installation of real processes on a Kafka and a PostgreSQL: one gateway, two of everything behind it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx

from tests.e2e.processes import ADMIN, environment
from tests.e2e.prove.plan import REPLICAS, SERVICES
from tests.e2e.prove.processes import Crew, Replica, command, must

PARTITIONS: Final = 4
"""Two for each replica."""
_WITH_KEY: Final = {"Authorization": f"Bearer {ADMIN}"}
_HANDLED: Final = re.compile(r"^events_handled_total\{.*\} [1-9]", re.MULTILINE)


@dataclass
class DistributedProcesses:
    """The processes, and the database they share."""

    crew: Crew
    env: Mapping[str, str]
    database: str

    @property
    def url(self) -> str:
        """Of the gateway."""
        return self.crew.members[0].url

    async def settle(self, seconds: float) -> None:
        """Wait until every consumer has handled every record. Raises `AssertionError` if another check fails."""
        async with asyncio.timeout(seconds):
            while True:
                done = await asyncio.to_thread(command, self.env, "verify", "--json")
                assert done.out, done.err
                found = json.loads(done.out)
                assert all(one["ok"] for one in found["items"]), done.out
                if not found["behind"]:
                    return

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Straight from the database."""
        connection = await asyncpg.connect(self.database)
        try:
            return [tuple(row) for row in await connection.fetch(question)]
        finally:
            await connection.close()

    async def idle(self) -> list[str]:
        """Return the processes behind the gateway that have handled no record: with an idle one, the work was not shared."""
        async with httpx.AsyncClient(trust_env=False, timeout=30.0, headers=_WITH_KEY) as client:
            said = {one.name: (await client.get(f"{one.url}/metrics")).text for one in self.crew.members[1:]}
        return [name for name, metrics in said.items() if not _HANDLED.search(metrics)]

    async def stop(self) -> None:
        """Stop all processes. Raises `AssertionError` if one does not end, or has ended before."""
        codes = await asyncio.gather(*(self.crew.stop(member) for member in self.crew.members))
        assert set(codes) == {0}, dict(zip((one.name for one in self.crew.members), codes, strict=True))
        assert self.crew.ended == []


@asynccontextmanager
async def distributed(
    directory: Path, config: Path, database: str, bootstrap: str
) -> AsyncIterator[DistributedProcesses]:
    """Everything ready, in an empty database and on topics of its own; no process of it is left afterwards."""
    env = environment(
        database_url=database,
        kafka_bootstrap=bootstrap,
        kafka_prefix=f"replay-{uuid4().hex[:8]}.",
        kafka_partitions=str(PARTITIONS),
        config_dir=str(config),
        admin_key=ADMIN,
    )
    await asyncio.to_thread(must, env, "migrate")
    await asyncio.to_thread(must, env, "apply", "--config", str(config))
    directory.mkdir(parents=True)
    behind = [Replica(service, n, directory, env) for service in SERVICES[1:] for n in range(REPLICAS)]
    crew = Crew([Replica(SERVICES[0], 0, directory, env), *behind])
    async with crew.running():
        yield DistributedProcesses(crew, env, database)
