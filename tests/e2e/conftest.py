"""The file of the real stream, if it is beside the checkout; a browser, and an installation that walks share."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from devtools.browser import FLAGS
from tests.e2e.processes import ROOT, ProcessInstallation, environment

STREAM = ROOT.parent / "shared" / "data" / "bpi2012" / "cases.csv"


@pytest.fixture
def stream() -> Path:
    """Return the 7,455 applications of a Dutch bank (4TU, doi 10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f)."""
    if not STREAM.exists():
        pytest.skip(f"the real stream is missing ({STREAM.relative_to(ROOT.parent)}); the generated one is tested")
    return STREAM


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser for all tests of this worker. Each test opens contexts of its own, which share nothing."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        await opened.close()


@pytest.fixture(scope="session")
def example_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessInstallation]:
    """A running installation with the example files. Each test adds leads of its own, and leaves reps as it found them."""
    directory = tmp_path_factory.mktemp("examples")
    command = [sys.executable, "-m", "firsthour", "init", str(directory / "config")]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    with ProcessInstallation(directory / "config", directory / "data") as running:
        yield running
