"""Fixtures for every test: a real Kafka and a real PostgreSQL, started by the first test that uses them.

If this machine lacks one, the tests that use it are skipped with one line that says how to install it. With CI=true they
fail.
"""

import functools
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from devtools import browser, jars, machine, programs
from devtools import kafka as local_kafka
from devtools import postgres as local_postgres
from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests import lazy_routes, shared, shared_settings, shared_statements
from tests.backends import backends, icu_backends, profile
from tests.examples import USUAL, examples
from tests.process_logging import restored_logging

__all__ = [
    "backends",
    "icu_backends",
    "profile",
    "restored_logging",
]  # fixtures; defined for the whole session in one place, so that each exists once

# Without deadlines, which a test would miss on a busy machine.
settings.register_profile("tests", deadline=None, max_examples=examples(USUAL))
settings.load_profile("tests")

lazy_routes.install()
shared_settings.install()
shared_statements.install()

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 8 << 30

if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES:
    # Flushes are fast in memory, and no test needs its files after a crash of the machine.
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None

SERVERS = pytest.StashKey[ExitStack]()
"""The servers of this worker. They stop after its last test, outside of any test's timeout, because the owner waits for
other workers."""

_SERVERS = {"kafka", "postgres", "kafka_here", "postgres_here", "chromium"}
_ORDER = ("e2e", "bench", "contract", "story", "unit")
"""The order in a parallel run. Long files come first, so that no worker starts a long file last."""

KAFKA_VERSION = os.environ.get("KAFKA_VERSION") or local_kafka.VERSION
_INSTALLS: Final = {
    "kafka": lambda: local_kafka.ensure(KAFKA_VERSION),
    "postgres": local_postgres.ensure,
    "chromium": browser.ensure,
}


@functools.cache
def _install(name: str) -> str | None:
    """Install the backend if it is missing. Return the error. None: the backend is installed."""
    try:
        _INSTALLS[name]()
    except (machine.MissingError, jars.FetchError) as error:
        return str(error)
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the stack of the servers."""
    config.stash[SERVERS] = ExitStack()


@pytest.hookimpl(trylast=True)  # after the session fixtures have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that this worker owns, and leave the others."""
    session.config.stash[SERVERS].close()


@pytest.hookimpl(tryfirst=True)  # before the selection by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use servers, and tests that repeat on a second profile. In a parallel run, sort long files first."""
    for item in items:
        distributed = "distributed" in getattr(getattr(item, "callspec", None), "params", {}).values()
        if distributed and _directory(item) == "story" and not _is_for_both_profiles(item):
            item.add_marker("long")
        if distributed or _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    if shared.WORKER:
        items.sort(key=lambda item: _ORDER.index(_directory(item)))


def _is_for_both_profiles(item: pytest.Item) -> bool:
    profiles = any(mark.args[0] == "profile" for mark in item.iter_markers("parametrize"))  # the test names its profile
    return profiles or item.get_closest_marker("both_profiles") is not None


def _directory(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install the backends before the first test, so that no timeout of a test includes the installation."""
    fixtures = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name in _INSTALLS:
        if fixtures & {name, f"{name}_here"} and not session.config.option.collectonly:
            _install(name)


def _require(name: str) -> None:
    error = _install(name)
    if error is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(error, pytrace=False)
    pytest.skip(error)


def _require_own_server(variable: str) -> None:
    if os.environ.get(variable):
        pytest.skip(f"this test stops servers; unset {variable}, whose server must keep running")


@pytest.fixture(scope="session")
def kafka_here() -> str:
    """The version of the installed Kafka, for tests that start their own brokers."""
    _require("kafka")
    _require_own_server(local_kafka.BOOTSTRAP)
    return KAFKA_VERSION


@pytest.fixture(scope="session")
def postgres_here() -> None:
    """PostgreSQL is installed, for tests that start their own server."""
    _require("postgres")
    _require_own_server(local_postgres.GIVEN)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    _require("chromium")
    return browser.ensure()


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that all workers of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if shared.WORKER else own


@pytest.fixture(scope="session")
def kafka(run_directory: Path, pytestconfig: pytest.Config) -> KafkaCluster:
    """One broker for all tests. A test uses topics with its own prefix and leaves the broker running."""
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
    """One server for all tests. A test creates its own database, drops it, and leaves the server running."""
    _require("postgres")
    server = shared.server(
        run_directory / "postgres",
        start=lambda: local_postgres.start(durable=False),
        address=lambda server: server.base,
        join=lambda base: PostgresServer(base, tools=programs.find()),
    )
    return pytestconfig.stash[SERVERS].enter_context(server)
