"""The Chromium of this machine, for tests of pages. It is installed where that is possible."""

import shutil
from typing import Final

from devtools import machine

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""It asks nothing of the network but the pages of the test."""


def program() -> str | None:
    """Return the path of the browser. None: there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def ensure() -> str:
    """Return the path of the browser, and install it if it is missing. Raises `MissingError`."""
    if program() is None and machine.may_install():
        machine.install(["chromium"])
    found = program()
    if found is None:
        raise machine.MissingError(f"no Chromium; {machine.how('chromium', 'brew install --cask chromium')}")
    return found
