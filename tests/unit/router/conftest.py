"""The harness of the router. Its invariants are checked after each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.router.harness import RouterHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RouterHarness]:
    router_harness = RouterHarness(tmp_path / "x.db")
    yield router_harness
    router_harness.check_invariants()
    router_harness.close()
