"""A Python that writes line breaks into mail headers is named; one that refuses them is not."""

from email.errors import MessageError
from email.message import EmailMessage

from firsthour.runtime import python_release


def _refuses(_: EmailMessage) -> bytes:
    raise MessageError("folded header contains newline")


def test_a_python_that_writes_an_injected_header_is_a_warning() -> None:
    (line,) = python_release.warnings(lambda message: b"Subject: a\r\nBcc: b@example.com\r\n\r\n")
    assert "CVE-2026-1299" in line
    assert "update to the newest release" in line


def test_a_python_that_refuses_it_is_none() -> None:
    assert python_release.warnings(_refuses) == ()


def test_the_message_that_is_tried_folds_into_two_headers_unless_python_refuses() -> None:
    """Without this the probe could go blind in silence."""
    seen: list[bytes | MessageError] = []

    def serialise(message: EmailMessage) -> bytes:
        try:
            seen.append(python_release.serialised(message))
        except MessageError as refused:
            seen.append(refused)
            raise
        return b"Bcc" if b"\nBcc:" in seen[0] else b""  # type: ignore[operator]  # bytes here

    python_release.warnings(serialise)
    assert isinstance(seen[0], MessageError) or b"\nBcc: b@example.com" in seen[0]
