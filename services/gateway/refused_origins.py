"""Logs the origins whose pages may not post a form, so that a missing entry of `allowed_origins` is noticed."""

import re
from typing import Final

import structlog

SECONDS: Final = 60.0
ORIGINS_MAX: Final = 20
"""Lines in `SECONDS` at most: strangers choose the origin, and must not fill the log."""
_ORIGIN: Final = re.compile(r"null|[a-z][a-z0-9+.-]{0,19}://[A-Za-z0-9.:\[\]_-]{1,253}")
_MALFORMED: Final = "malformed"

_log = structlog.get_logger(__name__)


class RefusedOrigins:
    """The origins that a process logged since the window began. Each is logged once in a window."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._end = 0.0

    def note(self, source: str, origin: bytes, now: float) -> None:
        """Log an origin that a source does not list. `now`: monotonic seconds."""
        if now >= self._end:
            self._seen, self._end = set(), now + SECONDS
        text = origin.decode("latin-1")
        shown = text if _ORIGIN.fullmatch(text) else _MALFORMED
        if len(self._seen) < ORIGINS_MAX and (source, shown) not in self._seen:
            self._seen.add((source, shown))
            _log.warning("origin not allowed", source=source, origin=shown)
