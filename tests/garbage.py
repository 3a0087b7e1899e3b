"""A plugin of pytest that keeps the garbage collector away from modules and tests, which stay until the end.

Collecting the tests makes hundreds of thousands of objects and no garbage, so looking for it took a third of that time. The
command line names this plugin, so that it is loaded before the modules of the program.
"""

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 10, 20)
"""After how many new objects the collector looks for cycles, and how often it looks through older objects. Most of what a
test leaves is freed without the collector."""

gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage only in what the tests create."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
