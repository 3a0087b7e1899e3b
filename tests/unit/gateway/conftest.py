"""A gateway for each test."""

from pathlib import Path

import pytest

from tests.unit.gateway.harness import GatewayHarness


@pytest.fixture
def harness(tmp_path: Path) -> GatewayHarness:
    return GatewayHarness(tmp_path)
