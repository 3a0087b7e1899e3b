"""A distributed installation of two processes, a gateway and all other services, for tests that look at it from outside."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Final
from uuid import uuid4

import httpx

from tests.e2e.processes import ADMIN, START_SECONDS, end, environment, free_port, spawn, until
from tests.e2e.prove.plan import SERVICES
from tests.e2e.prove.processes import must

PARTITIONS: Final = 2


class ServedInstallation:
    """The gateway at `url`, and the other services."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._directory, self._env = directory, env
        self._ports = (free_port(), free_port())
        self._processes: list[Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    def get(self, path: str) -> Any:
        """Return what a GET with the admin key answers."""
        answer = httpx.get(f"{self.url}{path}", headers={"authorization": f"Bearer {ADMIN}"}, trust_env=False)
        return answer.raise_for_status().json()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start both processes, wait until they are ready, and end them at the exit."""
        try:
            for port, services in zip(self._ports, (SERVICES[:1], SERVICES[1:]), strict=True):
                data = self._directory / services[0]
                listening = ("--host", "127.0.0.1", "--port", str(port), "--data", str(data))
                output = data.with_suffix(".output")
                self._processes.append(spawn(output, "firsthour", "serve", *services, *listening, env=self._env))
            until(self._ready, START_SECONDS, "ready to serve")
            yield
        finally:
            for process in self._processes:
                end(process)

    def _ready(self) -> bool:
        assert [process.poll() for process in self._processes] == [None, None], self._directory
        try:
            answers = [httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False) for port in self._ports]
        except httpx.HTTPError:
            return False
        return all(answer.status_code == 200 for answer in answers)


@contextmanager
def served(directory: Path, config: Path, database: str, bootstrap: str) -> Iterator[ServedInstallation]:
    """Run an installation with an empty database and topics of its own."""
    env = environment(
        database_url=database,
        kafka_bootstrap=bootstrap,
        kafka_prefix=f"served-{uuid4().hex[:8]}.",
        kafka_partitions=str(PARTITIONS),
        config_dir=str(config),
        admin_key=ADMIN,
    )
    must(env, "migrate")
    must(env, "apply", "--config", str(config))
    directory.mkdir(parents=True)
    installation = ServedInstallation(directory, env)
    with installation.running():
        yield installation
