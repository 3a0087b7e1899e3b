"""Known faults of the Python release in use."""

import platform
from collections.abc import Callable
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP, Policy
from typing import Final

_INJECTED: Final = "a\r\nBcc: b@example.com\r\n"


class _LiteralHeader(str):
    """A header that is written as two."""

    __slots__ = ()
    name = "Subject"
    max_count = None

    def fold(self, *, policy: Policy) -> str:
        return f"Subject: {_INJECTED}"


def serialised(message: EmailMessage) -> bytes:
    """Return the message as sent."""
    return message.as_bytes(policy=SMTP)


def warnings(serialise: Callable[[EmailMessage], bytes] = serialised) -> tuple[str, ...]:
    """Return a line for each fault.

    The fault is tested, not derived from the version: distributions patch a release without changing its number.
    """
    message = EmailMessage()
    message["Subject"] = _LiteralHeader("a")
    try:
        faulty = b"\nBcc:" in serialise(message)
    except MessageError:
        faulty = False
    if not faulty:
        return ()
    release = platform.python_version()
    series = ".".join(release.split(".")[:2])
    fault = f"Python {release} does not verify mail headers when it writes them (CVE-2024-6923, CVE-2026-1299)"
    return (f"{fault}; FirstHour removes line breaks itself, but update to the newest release of Python {series}",)
