"""A Python release that writes line breaks into mail headers is a warning."""

from email.errors import MessageError
from email.message import EmailMessage

from firsthour.runtime import python_release


def _refuses(_: EmailMessage) -> bytes:
    raise MessageError("folded header contains newline")


def test_python_that_writes_an_injected_header_is_a_warning() -> None:
    (line,) = python_release.warnings(lambda message: b"Subject: a\r\nBcc: b@example.com\r\n\r\n")
    assert "CVE-2026-1299" in line
    assert "update to the newest release" in line


def test_python_that_refuses_an_injected_header_has_no_warning() -> None:
    assert python_release.warnings(_refuses) == ()


def test_probe_message_is_refused_or_folds_into_two_headers() -> None:
    """Otherwise the probe would report no fault for a faulty release."""
    results: list[bytes | MessageError] = []

    def serialise(message: EmailMessage) -> bytes:
        try:
            results.append(python_release.serialised(message))
        except MessageError as refused:
            results.append(refused)
            raise
        return b"Bcc" if b"\nBcc:" in results[0] else b""  # type: ignore[operator]  # bytes here

    python_release.warnings(serialise)
    assert isinstance(results[0], MessageError) or b"\nBcc: b@example.com" in results[0]
