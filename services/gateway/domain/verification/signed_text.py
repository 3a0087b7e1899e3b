"""The text that a signature covers, made of parts of the request."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from schemas.verification import signed_parts
from services.gateway.domain.verification.request import SignedRequest

_FIELDS_MAX: Final = 500
_DECODED: Final = {f"%{ord(char):02X}".encode(): char.encode() for char in ":/?@!$'()*,;"}
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")

Part = Callable[[SignedRequest, bytes, bytes], bytes]
"""Returns a part of the text from the request, the timestamp and the secret."""


def _decoded_url(request: SignedRequest, _: bytes, __: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _DECODED.get(found[0].upper(), found[0]), request.url)


def _fields(request: SignedRequest, _: bytes, __: bytes) -> bytes:
    """Return names and values of the form in the body, sorted by name."""
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:  # not UTF-8, or too many fields
        return b""
    return "".join(name + value for name, value in sorted(pairs)).encode("utf-8", "surrogatepass")


_PARTS: Final[Mapping[str, Part]] = {
    "body": lambda request, _, __: request.body,
    "timestamp": lambda _, stamp, __: stamp,
    "secret": lambda _, __, secret: secret,
    "method": lambda request, _, __: request.method,
    "url": lambda request, _, __: request.url,
    "decoded_url": _decoded_url,
    "fields": _fields,
}


class SignedTemplate:
    """A template such as `{timestamp}.{body}`."""

    def __init__(self, text: str) -> None:
        pieces = signed_parts(text)
        self._parts: list[bytes | Part] = [
            _PARTS[piece] if index % 2 else piece.encode() for index, piece in enumerate(pieces) if piece
        ]
        self._is_body = self._parts == [_PARTS["body"]]

    def text(self, request: SignedRequest, stamp: bytes, secret: bytes = b"") -> bytes:
        """Return the signed text of this request."""
        if self._is_body:  # as most vendors sign
            return request.body
        return b"".join(part if isinstance(part, bytes) else part(request, stamp, secret) for part in self._parts)
