"""An application for each test."""

from collections.abc import Iterator

import pytest
import structlog

from tests.unit.runtime.http.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    yield Site()
    structlog.reset_defaults()
