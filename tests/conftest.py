"""What every test may ask for: a real Kafka and a real PostgreSQL, brought up by the first test that asks.

Where this machine lacks one, the tests that ask are skipped, saying in one line how to get it; with CI=true they fail.
"""

import functools
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from devtools import jars, machine, programs
from devtools import kafka as local_kafka
from devtools import postgres as local_postgres
from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests import shared
from tests.backends import backends, icu_backends, profile

__all__ = [
    "backends",
    "icu_backends",
    "profile",
]  # fixtures, here so that there is one of each: what is of a session is of a definition

settings.register_profile("busy", deadline=None)  # the machine may be: how long an example takes says nothing
settings.load_profile("busy")

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 8 << 30

if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES:
    os.environ["TMPDIR"] = str(_MEMORY)  # tests wait for thousands of flushes, and none ends the machine
    tempfile.tempdir = None

SERVERS = pytest.StashKey[ExitStack]()
"""The servers of this worker. They end after its last test: the owner waits for other workers, and no test's time-out
may count that."""

_SERVERS = {"kafka", "postgres", "kafka_here", "postgres_here"}
_ORDER = ("e2e", "bench", "contract", "story", "unit")
"""Directories whose files take long come first in a parallel run: a long file begun last keeps the other workers waiting."""

KAFKA_VERSION = os.environ.get("KAFKA_VERSION") or local_kafka.VERSION


@functools.cache
def _lacking(name: str) -> str | None:
    """Why there is no such backend here, after trying to install it; None when there is one."""
    try:
        local_kafka.ensure(KAFKA_VERSION) if name == "kafka" else local_postgres.ensure()
    except (machine.MissingError, jars.FetchError) as missing:
        return str(missing)
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Make a place for the servers."""
    config.stash[SERVERS] = ExitStack()


@pytest.hookimpl(trylast=True)  # after the fixtures of the session
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave or stop the servers."""
    session.config.stash[SERVERS].close()


@pytest.hookimpl(tryfirst=True)  # before marks deselect
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes servers, and what only repeats over them; in a parallel run, begin with long files."""
    for item in items:
        distributed = "distributed" in getattr(getattr(item, "callspec", None), "params", {}).values()
        if distributed and item.get_closest_marker("same_on_both_profiles"):
            item.add_marker("long")
        if distributed or _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    if shared.WORKER:
        tests = Path(__file__).parent
        items.sort(key=lambda item: _ORDER.index(item.path.relative_to(tests).parts[0]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch and install before the first test, so that no test's time-out has to cover it."""
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name in ("kafka", "postgres"):
        if asked & {name, f"{name}_here"} and not session.config.option.collectonly:
            _lacking(name)


def _require(name: str) -> None:
    lacking = _lacking(name)
    if lacking is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(lacking, pytrace=False)
    pytest.skip(lacking)


def _require_ours(given: str) -> None:
    if os.environ.get(given):
        pytest.skip(f"this test stops servers, and what {given} names is not ours to stop")


@pytest.fixture(scope="session")
def kafka_here() -> str:
    """The version of Kafka to be tried, certain to start: for tests that bring up brokers of their own."""
    _require("kafka")
    _require_ours(local_kafka.BOOTSTRAP)
    return KAFKA_VERSION


@pytest.fixture(scope="session")
def postgres_here() -> None:
    """PostgreSQL is certain to start: for tests that bring up a server of their own."""
    _require("postgres")
    _require_ours(local_postgres.GIVEN)


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that all workers of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if shared.WORKER else own


@pytest.fixture(scope="session")
def kafka(run_directory: Path, pytestconfig: pytest.Config) -> KafkaCluster:
    """One broker for all tests: take topics with a prefix of your own, and leave it running."""
    _require("kafka")
    cluster = shared.server(
        run_directory / "kafka",
        start=lambda: local_kafka.start(version=KAFKA_VERSION, options=local_kafka.QUICK),
        address=lambda cluster: cluster.bootstrap,
        join=lambda bootstrap: KafkaCluster(bootstrap, KAFKA_VERSION),
    )
    return pytestconfig.stash[SERVERS].enter_context(cluster)


@pytest.fixture(scope="session")
def postgres(run_directory: Path, pytestconfig: pytest.Config) -> PostgresServer:
    """One server for all tests: `create` a database of your own, `drop` it, and leave the server running."""
    _require("postgres")
    server = shared.server(
        run_directory / "postgres",
        start=lambda: local_postgres.start(durable=False),
        address=lambda server: server.base,
        join=lambda base: PostgresServer(base, tools=programs.find()),
    )
    return pytestconfig.stash[SERVERS].enter_context(server)
