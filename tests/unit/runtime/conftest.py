"""Environments for settings."""

import os
from pathlib import Path

import pytest

from firsthour.runtime import settings
from tests.fakes import certificates


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of FirstHour from the environment."""
    for name in list(os.environ):
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.Authority(tmp_path_factory.mktemp("ca")).file


@pytest.fixture
def distributed(bare: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set the variables of the distributed profile."""
    monkeypatch.setenv("FIRSTHOUR_DATABASE_URL", "postgresql://u:hunter2@db/x")
    monkeypatch.setenv("FIRSTHOUR_KAFKA_BOOTSTRAP", "k-1:9092, k-2:9092")
    return monkeypatch
