"""A whole installation in this process: real files, a clock that tests move, and no running tasks."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from firsthour.bootstrap import embedded
from firsthour.bootstrap.embedded import System
from firsthour.cli.init import write_examples
from firsthour.operations.verify import invariants
from firsthour.operations.verify.invariants import InvariantResult, VerifyReport
from firsthour.runtime import settings
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.storage.unit import Unit
from services.notifier.channels.inbox import InboxChannel
from tests.data_directory import open_directory
from tests.hand_clock import HandClock

ADMIN = "harness-" + "k" * 40


@dataclass
class OperationsHarness:
    """An installation on the example configuration. `break_by` changes its rows without the services."""

    place: Path
    clock: HandClock = field(default_factory=HandClock)

    async def open(self) -> None:
        """Open the installation, also after `close`."""
        config = self.place / "config"
        write_examples(config)
        process_settings = settings.load(config_dir=config, data_dir=self.place / "data", admin_key=SecretStr(ADMIN))
        lock = open_directory(process_settings.data_dir)
        inbox = InboxChannel(lambda message: None)
        self.system: System = await embedded.open_system(
            process_settings, self.clock, ConfigFiles(config), {"inbox": inbox}, lock=lock
        )
        self.client = self.key(ADMIN)

    async def close(self) -> None:
        await self.client.aclose()
        await self.system.close()

    def key(self, key: str) -> httpx.AsyncClient:
        """Return a client that sends this key."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.system.app),
            base_url="http://harness",
            headers={"authorization": f"Bearer {key}"},
        )

    async def ask(self, *people: str) -> None:
        """Post a demo request of each person, and run all services until they are idle."""
        for person in people:
            form = {"email": f"{person}@{person}.example", "name": person, "employees": "400", "title": "CEO"}
            answer = await self.client.post("/v1/forms/demo-request", data=form)
            assert answer.status_code == 202, answer.text
        await self.system.settle()

    async def wait(self, **by: float) -> None:
        self.clock.advance(**by)
        await self.system.settle()

    async def lead(self, person: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/leads?email={person}@{person}.example")
        leads: list[dict[str, Any]] = answer.json()["items"]
        assert len(leads) == 1, answer.text
        return leads[0]

    async def act(self, person: str, action: str, **body: Any) -> None:
        lead = await self.lead(person)
        answer = await self.client.post(f"/v1/leads/{lead['id']}/{action}", json=body or None)
        assert answer.status_code == 200, answer.text
        await self.system.settle()

    async def available(self, rep: str, here: bool) -> None:
        """Set the availability of a rep."""
        answer = await self.client.post(f"/v1/reps/{rep}/availability", json={"available": here})
        assert answer.status_code == 200, answer.text
        await self.system.settle()

    async def break_by(self, *statements: str, **values: Any) -> None:
        """Change rows in a way that no service does."""

        def work(unit: Unit) -> None:
            for statement in statements:
                unit.connection.exec_driver_sql(statement, tuple(values.values()) if "?" in statement else ())

        await self.system.units.run(work)

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return await self.system.reads(lambda c: [tuple(row) for row in c.exec_driver_sql(question)])

    async def report(self, **how: Any) -> VerifyReport:
        """Return the report of verify."""
        return await self.system.reads(lambda connection: invariants.run(connection, self.clock, **how))

    async def findings(self, **how: Any) -> Mapping[str, InvariantResult]:
        """Return the results of verify by invariant."""
        return {result.invariant: result for result in (await self.report(**how)).findings}

    async def broken(self, **how: Any) -> dict[str, tuple[str, ...]]:
        """Return the rows named by each broken invariant."""
        return {name: result.rows for name, result in (await self.findings(**how)).items() if not result.ok}


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[OperationsHarness]:
    """Open an installation in the directory of the test."""
    installation = OperationsHarness(tmp_path)
    await installation.open()
    yield installation
    await installation.close()
