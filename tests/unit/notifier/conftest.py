"""Provides each test with its own harness."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.notifier.harness import NotifierHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[NotifierHarness]:
    notifier = NotifierHarness(tmp_path / "x.db")
    yield notifier
    notifier.units.close()
