"""A harness for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.router.harness import RouterHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RouterHarness]:
    made = RouterHarness(tmp_path / "x.db")
    yield made
    made.check()
    made.engine.dispose()
