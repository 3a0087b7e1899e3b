"""A harness for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.notifier.harness import NotifierHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[NotifierHarness]:
    made = NotifierHarness(tmp_path / "x.db")
    yield made
    made.units.close()
