"""An installation for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.tools.harness import OperationsHarness


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[OperationsHarness]:
    opened = OperationsHarness(tmp_path)
    await opened.open()
    yield opened
    await opened.close()
