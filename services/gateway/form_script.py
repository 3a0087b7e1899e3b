"""The script that sends web forms: `GET /forms.js`. It is served without indentation, blanks and comment."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from services.gateway.replies import Reply

PATH: Final = "/forms.js"
BYTES_MAX: Final = 3_000
_FILE: Final = Path(__file__).with_name("forms.js")
_BLANKS: Final = re.compile(r"\s*(=>|&&|\|\||[=+,;:{}()<>?])\s*")
"""Blanks around operators. No text in the script has such blanks."""
_HEADERS: Final = (
    (b"content-type", b"text/javascript; charset=utf-8"),
    (b"access-control-allow-origin", b"*"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)


@cache
def script() -> bytes:
    """Return the script as it is served."""
    lines = (_BLANKS.sub(r"\1", line.strip()) for line in _FILE.read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("/*")).encode()


def reply() -> Reply:
    """Return the answer to a request for the script."""
    return Reply(200, script(), _HEADERS)
