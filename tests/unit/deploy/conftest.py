"""The compose file as Docker resolves it."""

import json
from typing import Any

import pytest

from tests.unit.deploy.harness import (
    COMPOSE,
    run_tool,
)


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """Return the compose file as Docker resolves it, with anchors, defaults and paths."""
    result = run_tool("docker-compose", "--file", str(COMPOSE), "config", "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")
    resolved: dict[str, Any] = json.loads(result.stdout)
    return resolved


@pytest.fixture(scope="module")
def services(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    by_name: dict[str, dict[str, Any]] = model["services"]
    return by_name
