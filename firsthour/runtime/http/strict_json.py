"""Parses JSON from outside once and strictly, from the raw bytes.

A value that passes can be stored, encoded and sent on: it has no NUL, no lone surrogate, no NaN, no number that another
reader would round, no key that two parsers would read differently, and its depth and size are bounded.

Two paths lead to the same result. `exact` walks the value and can name the place of a mistake. The fast path makes a few
tests of the raw bytes; each can err only towards "suspicious", and suspicious bodies are left to `exact`.
"""

import json
import math
from typing import Final, NamedTuple

import msgspec

from schemas.errors import FirstHourError

SIZE_MAX: Final = 256 * 1024
"""Bytes of a body, unless the caller says otherwise."""
DEPTH_MAX: Final = 32
"""Containers within containers."""
NODES_MAX: Final = 10_000
"""Values in a body, containers included."""
STRING_BYTES_MAX: Final = 64 * 1024
"""UTF-8 bytes of one string or key."""
INT_MAX: Final = 2**53
"""Beyond it, a reader that knows only doubles (JavaScript, many CRMs) reads another number."""

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_REPLACEMENT = "\ufffd"
_POINTER_MAX = 120  # characters of a JSON pointer in a message; keys come from strangers
_BOM = b"\xef\xbb\xbf"  # forbidden in JSON, and written by some editors and vendors; one is skipped
_DIGITS_MAX = 16  # of 2**53
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT) | {0: _REPLACEMENT}


class StrictError(FirstHourError, ValueError):
    """Raised for a body that is refused. `status`: of HTTP: 400 not JSON, 413 too large, 422 refused JSON.

    `pointer`: the place of the value; empty: the whole body. `predicate`: the fault, without the place that `what` names.
    """

    def __init__(self, status: int, what: str, remedy: str, pointer: str = "", predicate: str = "") -> None:
        super().__init__(f"{what}; {remedy}")
        self.pointer = pointer
        self.predicate = predicate or what
        self.status = status
        self.what = what
        self.remedy = remedy


class Parsed(msgspec.Struct, frozen=True):
    """A value. `altered`: a NUL or a lone surrogate was replaced by U+FFFD."""

    value: Json
    altered: bool


def parse(body: bytes, size_max: int = SIZE_MAX) -> Parsed:
    """Return the value of a JSON body of at most `size_max` bytes. Raises only `StrictError`."""
    if len(body) > size_max:
        raise StrictError(413, f"the body has {len(body)} bytes, more than {size_max}", "send less, or in parts")
    marked, body = body, body.removeprefix(_BOM)
    if not _suspicious(body):
        try:
            value = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return exact(marked)
        # A repeated key shows as a missing colon. A colon has one spelling in both texts (`_suspicious` excludes \u003a),
        # so each text has the colons within its strings, and one for each member. The decoder keeps one member of a
        # repeated key: dropping the other drops its colon (and those within its value), and none is ever added.
        again = _encode(value)
        if again == body or again.count(b":") == body.count(b":"):
            return Parsed(value, False)
    return exact(marked)


# --- the fast path ----------------------------------------------------------------------------------------------

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_SHAPES = bytes.maketrans(b"123456789{", b"000000000[")
# NUL, and the second spelling of a colon. Lone surrogates need no guard: the decoder refuses them.
_TELLING_ESCAPES = (b"\\u0000", b"\\u003a", b"\\u003A")
_LONG_INT = b"0" * _DIGITS_MAX
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_MARKS = bytes(code for code in range(256) if code not in b"[]{},")
# Of n values the shortest text is [0,0,...]: 2n-1 bytes. So up to this length neither the values nor a string can be
# too many or too long, without counting.
_SMALL = 2 * NODES_MAX - 1


def _suspicious(body: bytes) -> bool:
    """Whether a limit might be exceeded. False is certain, true is not."""
    if b"\\" in body and b"\\u" in body and any(escape in body for escape in _TELLING_ESCAPES):
        return True
    shapes = body.translate(_SHAPES)
    if _LONG_INT in shapes:
        return True  # perhaps an integer beyond 2**53
    if len(body) <= _SMALL and shapes.count(b"[") <= DEPTH_MAX:
        return False
    return _too_much(body)


def _too_much(body: bytes) -> bool:
    """Whether a string may be too long, or the values too many or too deep, in a few passes over the bytes."""
    if b"\\" in body:
        # Escapes are read from the left, so pairs of backslashes are replaced first; a backslash that is left escapes.
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    pieces = body.split(b'"')
    if max(map(len, pieces)) > STRING_BYTES_MAX:  # no string is longer than the bytes that spell it
        return True
    marks = b"".join(pieces[::2]).translate(_SQUARE, _NOT_MARKS)
    brackets = marks.replace(b",", b"")
    # Apart from the outermost value, there are never more values than commas and containers together.
    if len(marks) - len(brackets) // 2 >= NODES_MAX:
        return True
    for _ in range(DEPTH_MAX):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # the innermost level of each
    return bool(brackets)


# --- the exact path ---------------------------------------------------------------------------------------------


class _Oversized(NamedTuple):
    """A number kept as text until its place is known."""

    what: str


class _Constant(NamedTuple):
    """NaN or Infinity: Python reads them, but JSON does not have them."""

    name: str


class _Twice(NamedTuple):
    """An object with a repeated `key`."""

    key: str


def exact(body: bytes) -> Parsed:
    """Parse without the fast path and without the limit of size. Raises only `StrictError`."""
    text = _text(body)
    walk = _Walk(altered="\x00" in text)
    try:
        found = json.loads(
            text.replace("\x00", _REPLACEMENT),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_Constant,
        )
    except RecursionError:
        raise _too_deep("") from None
    except json.JSONDecodeError as broken:
        where = f"line {broken.lineno}, column {broken.colno}"
        raise StrictError(400, f"the body is not JSON ({broken.msg} at {where})", "send valid JSON") from None
    value = walk.value(found, "", 0)
    return Parsed(value, walk.altered)


def _text(body: bytes) -> str:
    """The body as text, still with unescaped NULs and surrogates."""
    body = body.removeprefix(_BOM)
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:2]:
        raise StrictError(400, "the body is UTF-16 or UTF-32", "send UTF-8")
    if not body.strip(b" \t\r\n"):
        raise StrictError(400, "the body is empty", "send JSON")
    try:
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as broken:
        raise StrictError(400, f"the body is not UTF-8 at byte {broken.start}", "send UTF-8") from None


def _object(pairs: list[tuple[str, object]]) -> object:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Twice(key)
        seen.add(key)
    return made


def _integer(text: str) -> int | _Oversized:
    if len(text) > _DIGITS_MAX + 1:  # with its sign; Python refuses to read very long integers
        return _Oversized("an integer beyond 2^53")
    number = int(text)
    return number if abs(number) <= INT_MAX else _Oversized("an integer beyond 2^53")


def _float(text: str) -> float | _Oversized:
    number = float(text)
    return number if math.isfinite(number) else _Oversized("a number too large for a double")


class _Walk:
    """One pass over the parsed value: counts values, replaces characters, and tracks the place."""

    def __init__(self, altered: bool) -> None:
        self.nodes = 0
        self.altered = altered

    def value(self, found: object, where: str, depth: int) -> Json:
        """Return the value with its strings made safe. `where`: its JSON pointer."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise StrictError(422, f"the body holds more than {NODES_MAX} values", "send it in parts")
        if isinstance(found, str):
            return self.text(found, where)
        if isinstance(found, dict):
            return self.members(found, where, depth + 1)
        if isinstance(found, list):
            if depth >= DEPTH_MAX:
                raise _too_deep(where)
            return [self.value(item, _below(where, str(index)), depth + 1) for index, item in enumerate(found)]
        if found is None or isinstance(found, (bool, int, float)):
            return found
        raise _refusal(found, where)

    def members(self, found: dict[str, object], where: str, depth: int) -> dict[str, Json]:
        if depth > DEPTH_MAX:
            raise _too_deep(where)
        made: dict[str, Json] = {}
        for key, item in found.items():
            name = self.text(key, where)
            if name in made:  # two keys that differed only in replaced characters
                raise _refusal(_Twice(name), where)
            made[name] = self.value(item, _below(where, name), depth)
        return made

    def text(self, found: str, where: str) -> str:
        # surrogates count as three bytes here, as does U+FFFD, which takes their place
        if len(found) * 4 > STRING_BYTES_MAX and len(found.encode("utf-8", "surrogatepass")) > STRING_BYTES_MAX:
            raise _refused(422, where, "has a string of more than 64 KiB", "shorten it")
        if found.isascii():
            safe = found.replace("\x00", _REPLACEMENT)
        else:
            safe = found.translate(_SURROGATES)
        if safe != found:
            self.altered = True
        return safe


def _refusal(found: object, where: str) -> StrictError:
    match found:
        case _Twice(key):
            place = _below(where, key[:_POINTER_MAX].translate(_SURROGATES))
            return _refused(422, place, "is given more than once", "send each key once")
        case _Constant(name):
            return _refused(400, where, f"is {name}, which JSON does not know", "leave it out or send null")
        case _Oversized(what):
            return _refused(422, where, f"is {what}", "send it as a string")
    return _refused(400, where, "is not a JSON value", "send valid JSON")


def _too_deep(where: str) -> StrictError:
    return _refused(422, where, f"is nested deeper than {DEPTH_MAX} levels", "send it flatter")


def _below(where: str, key: str) -> str:
    """Return the pointer of the member `key`. It does not grow once it is too long to be shown."""
    if len(where) > _POINTER_MAX:
        return where
    return f"{where}/{key[:_POINTER_MAX].replace('~', '~0').replace('/', '~1')}"


def _refused(status: int, where: str, predicate: str, remedy: str) -> StrictError:
    """The error for the value at `where`, a JSON pointer."""
    place = _at(where)
    if not where:
        return StrictError(status, f"{place} {predicate}", remedy)
    return StrictError(status, f"{place} {predicate}", remedy, place, predicate)


def _at(where: str) -> str:
    if not where:
        return "the body"
    return where if len(where) <= _POINTER_MAX else where[:_POINTER_MAX] + "..."
