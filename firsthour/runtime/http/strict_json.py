"""Parses JSON from outside once and strictly, from the raw bytes, as `exact_json` defines it.

`exact_json` needs a Python call for every value. The fast path here makes a few tests of the raw bytes instead. Each test
can err in one direction only: it may call a valid body suspicious. `exact_json` parses suspicious bodies.
"""

from typing import Final

import msgspec

from firsthour.runtime.http.exact_json import (
    BYTE_ORDER_MARK,
    DEPTH_MAX,
    DIGITS_MAX,
    NODES_MAX,
    STRING_BYTES_MAX,
    Parsed,
    StrictError,
    parse_exactly,
)

SIZE_MAX: Final = 256 * 1024
"""Bytes of a body, unless the caller sets another limit."""


def parse(body: bytes, size_max: int = SIZE_MAX) -> Parsed:
    """Return the value of a JSON body of at most `size_max` bytes. Raises only `StrictError`."""
    if len(body) > size_max:
        raise StrictError(413, f"the body has {len(body)} bytes, more than {size_max}", "send less, or in parts")
    sent, body = body, body.removeprefix(BYTE_ORDER_MARK)
    if not _is_suspicious(body):
        try:
            value = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return parse_exactly(sent)
        # A repeated key shows as a missing colon. The decoder keeps one member of a repeated key and drops the others,
        # and with each of them a colon. All other colons are the same in both texts: `_is_suspicious` excludes \u003a.
        encoded = _encode(value)
        if encoded == body or encoded.count(b":") == body.count(b":"):
            return Parsed(value, False)
    return parse_exactly(sent)


# --- suspicious bodies ----------------------------------------------------------------------------------------

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_SHAPES = bytes.maketrans(b"123456789{", b"000000000[")
# NUL, and the second spelling of a colon. The decoder itself refuses lone surrogates.
_SUSPICIOUS_ESCAPES = (b"\\u0000", b"\\u003a", b"\\u003A")
_LONG_INT = b"0" * DIGITS_MAX
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_MARKS = bytes(code for code in range(256) if code not in b"[]{},")
# The shortest text of n values, [0,0,...], has 2n-1 bytes. A body up to this length has neither too many values nor a
# string that is too long.
_SMALL = 2 * NODES_MAX - 1


def _is_suspicious(body: bytes) -> bool:
    """Tell whether the body may break a rule. False is certain."""
    if b"\\" in body and b"\\u" in body and any(escape in body for escape in _SUSPICIOUS_ESCAPES):
        return True
    shapes = body.translate(_SHAPES)
    if _LONG_INT in shapes:
        return True  # perhaps an integer beyond 2**53
    if len(body) <= _SMALL and shapes.count(b"[") <= DEPTH_MAX:
        return False
    return _is_perhaps_too_large(body)


def _is_perhaps_too_large(body: bytes) -> bool:
    """Tell whether a string may be too long, or the values too many or too deep. False is certain."""
    if b"\\" in body:
        # Pairs of backslashes are replaced first: each remaining backslash then begins an escape.
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    pieces = body.split(b'"')
    if max(map(len, pieces)) > STRING_BYTES_MAX:  # a string has at most as many bytes as its JSON
        return True
    marks = b"".join(pieces[::2]).translate(_SQUARE, _NOT_MARKS)
    brackets = marks.replace(b",", b"")
    # Apart from the outermost value, there are at most as many values as commas and containers together.
    if len(marks) - len(brackets) // 2 >= NODES_MAX:
        return True
    for _ in range(DEPTH_MAX):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # removes the innermost level
    return bool(brackets)
