"""The page, instead of JSON, for a visitor whose browser posted a form. It contains no input of the visitor."""

from collections.abc import Mapping
from html import escape
from typing import Final

HTML: Final = (b"content-type", b"text/html; charset=utf-8")
POLICY: Final = (b"content-security-policy", b"default-src 'none'")

_KEPT: Final = "Your message is stored."
_TEXTS: Final[Mapping[int, tuple[str, str]]] = {
    202: ("Thank you", "Your message has arrived."),
    400: ("Message not readable", "Your message could not be read."),
    403: ("Form not available", "This form cannot be sent from this page."),
    404: ("Form not available", "This form does not exist any more."),
    405: (
        "Nothing to see here",
        "This is the address of a form. Please go back to the page of the form and send it there.",
    ),
    413: ("Message too large", "Your message is too large. Please go back and send less."),
    415: ("Message not readable", "Your message could not be read. Please leave out files and send text alone."),
    422: ("Please check your entries", "Please go back, check your entries and send the form again."),
    429: ("Not sent", "Too many messages are sent at the moment. Please go back and send yours again in a minute."),
    503: ("Not sent", "Your message could not be saved. Please go back and send it again in a moment."),
}
_FALLBACK: Final = ("Not sent", "Your message could not be taken. Please go back and send it again.")
_FIELDS: Final[Mapping[str, str]] = {
    "#/email": "Please go back and enter an email address, such as ann@example.com, or a phone number.",
    "#/phone": "Please go back and enter a phone number with its country code, such as +49 30 123456.",
}


def wants_page(accept: bytes) -> bool:
    """Tell whether a browser will show the answer to a person."""
    return b"text/html" in accept and b"application/json" not in accept


def page(status: int, *, pointer: str = "", is_kept: bool = False, request_id: str = "") -> bytes:
    """Return the page for an answer of this status.

    Args:
        status: The status of the answer.
        pointer: The field to correct. Empty: none.
        is_kept: The body is kept as a dead letter.
        request_id: The reference that the visitor may quote.
    """
    title, text = _TEXTS.get(status, _FALLBACK)
    text = _FIELDS.get(pointer, text) if status == 422 else text
    parts = [text, _KEPT] if is_kept else [text]
    reference = f"<p><small>Reference: {escape(request_id)}</small></p>\n" if request_id and status >= 400 else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<title>{escape(title)}</title>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        f"<p>{escape(' '.join(parts))}</p>\n{reference}</main>\n</body>\n</html>\n"
    ).encode()
