"""The file of the real stream, if it is beside the checkout."""

from pathlib import Path

import pytest

from tests.e2e.processes import ROOT

STREAM = ROOT.parent / "shared" / "data" / "bpi2012" / "cases.csv"


@pytest.fixture
def stream() -> Path:
    """Return the 7,455 applications of a Dutch bank (4TU, doi 10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f)."""
    if not STREAM.exists():
        pytest.skip(f"the real stream is missing ({STREAM.relative_to(ROOT.parent)}); the generated one is tested")
    return STREAM
