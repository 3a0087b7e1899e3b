"""A gateway for each test."""

from pathlib import Path

import pytest

from tests.unit.gateway.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)
