"""The logging of the process, which commands and `configure_logging` replace."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Restore the logging of the process after the test."""
    root = logging.root
    state = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:], root.level, logging.raiseExceptions = state
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for name in ("uvicorn.access", "python_multipart.multipart"):
        logging.getLogger(name).disabled = False
    structlog.reset_defaults()
