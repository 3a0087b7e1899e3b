"""A distributed installation of real processes: one gateway, and two replicas of every other service."""

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
    """The processes of an installation, and their database."""

    crew: Crew
    env: Mapping[str, str]
    database: str

    @property
    def url(self) -> str:
        """Return the URL of the gateway."""
        return self.crew.members[0].url

    async def settle(self, seconds: float) -> None:
        """Wait until every consumer has handled every record. Raises `AssertionError` if another check fails."""
        async with asyncio.timeout(seconds):
            while True:
                done = await asyncio.to_thread(command, self.env, "verify", "--json")
                assert done.out, done.err
                report = json.loads(done.out)
                assert all(item["ok"] for item in report["items"]), done.out
                if not report["behind"]:
                    return

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query on the database."""
        connection = await asyncpg.connect(self.database)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def idle(self) -> list[str]:
        """Return the replicas that have handled no record. Empty: all replicas behind the gateway took a part of the work."""
        async with httpx.AsyncClient(trust_env=False, timeout=30.0, headers=_WITH_KEY) as client:
            texts = {one.name: (await client.get(f"{one.url}/metrics")).text for one in self.crew.members[1:]}
        return [name for name, metrics in texts.items() if not _HANDLED.search(metrics)]

    async def stop(self) -> None:
        """Stop all processes. Raises `AssertionError` if a process ends with an error or has ended before."""
        codes = await asyncio.gather(*(self.crew.stop(member) for member in self.crew.members))
        assert set(codes) == {0}, dict(zip((one.name for one in self.crew.members), codes, strict=True))
        assert self.crew.ended == []


@asynccontextmanager
async def distributed(
    directory: Path, config: Path, database: str, bootstrap: str
) -> AsyncIterator[DistributedProcesses]:
    """Start an installation with an empty database and its own topics, and wait until it is ready. End it at the exit."""
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
    replicas = [Replica(service, n, directory, env) for service in SERVICES[1:] for n in range(REPLICAS)]
    crew = Crew([Replica(SERVICES[0], 0, directory, env), *replicas])
    async with crew.running():
        yield DistributedProcesses(crew, env, database)
