"""A room for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.router.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "x.db")
    yield made
    made.check()
    made.engine.dispose()
