"""Cursors of lists over HTTP: the position of the last item, as text."""

import re

from firsthour.runtime.http.problem import Problem

MICROSECONDS = r"(-?\d{1,18})"
COUNT = r"(\d{1,18})"
ID = r"([^\x00-\x1f]{1,200})"
UUID = r"([0-9a-f-]{36})"


def read(cursor: str | None, shape: "re.Pattern[str]") -> tuple[str, ...] | None:
    """Return the parts of a cursor of this shape. None: the list starts at its beginning. Raises `Problem` 422."""
    if cursor is None:
        return None
    match = shape.fullmatch(cursor)
    if match is None:
        raise Problem(
            422,
            "Invalid cursor",
            "Pass `next` of the previous answer unchanged, or leave `cursor` out.",
            errors=[{"pointer": "query:cursor", "detail": "not a cursor of this list"}],
        )
    return match.groups()
