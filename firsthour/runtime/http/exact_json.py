"""Parses JSON value by value, and names the place of each fault. `strict_json` skips this for most bodies.

A value that passes can be stored, encoded and sent on. It has no NUL, no lone surrogate, no NaN, no number that another
reader would round and no repeated key. Its depth and size are bounded.
"""

import json
import math
from typing import Final, NamedTuple

import msgspec

from schemas.errors import FirstHourError

DEPTH_MAX: Final = 32
"""Containers within containers."""
NODES_MAX: Final = 10_000
"""Values in a body, containers included."""
STRING_BYTES_MAX: Final = 64 * 1024
"""UTF-8 bytes of one string or key."""
INT_MAX: Final = 2**53
"""The largest integer that JavaScript and many CRMs read exactly: their numbers are doubles."""

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_REPLACEMENT = "\ufffd"
_POINTER_MAX = 120  # characters of a JSON pointer in a message: the sender chooses the keys
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""Forbidden in JSON, but some editors and vendors write it. One is skipped."""
DIGITS_MAX: Final = 16
"""Digits of 2**53."""
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT) | {0: _REPLACEMENT}


class StrictError(FirstHourError, ValueError):
    """Raised for a refused body.

    Attributes:
        status: The status of the answer: 400 for no JSON, 413 for too many bytes, 422 for JSON that is refused.
        fault: The place and the fault, as one sentence.
        remedy: The correction that the sender should make.
        pointer: The JSON pointer of the value. Empty: the whole body.
        predicate: The fault without its place.
    """

    def __init__(self, status: int, fault: str, remedy: str, pointer: str = "", predicate: str = "") -> None:
        super().__init__(f"{fault}; {remedy}")
        self.pointer = pointer
        self.predicate = predicate or fault
        self.status = status
        self.fault = fault
        self.remedy = remedy


class Parsed(msgspec.Struct, frozen=True):
    """A parsed body. `altered`: a NUL or a lone surrogate was replaced by U+FFFD."""

    value: Json
    altered: bool


class _Oversized(NamedTuple):
    """A number that is refused. `kind` names its fault."""

    kind: str


class _Constant(NamedTuple):
    """NaN or Infinity. Python parses them, but JSON does not have them."""

    name: str


class _RepeatedKey(NamedTuple):
    """An object with a repeated `key`."""

    key: str


def parse_exactly(body: bytes) -> Parsed:
    """Return the value of a JSON body of any size. Raises only `StrictError`."""
    text = _text(body)
    walk = _Walk(altered="\x00" in text)
    try:
        value = json.loads(
            text.replace("\x00", _REPLACEMENT),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_Constant,
        )
    except RecursionError:
        raise _too_deep("") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise StrictError(400, f"the body is not JSON ({error.msg} at {place})", "send valid JSON") from None
    return Parsed(walk.value(value, "", 0), walk.altered)


def _text(body: bytes) -> str:
    """Return the body as text. Its NULs and surrogates are not replaced yet."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:2]:
        raise StrictError(400, "the body is UTF-16 or UTF-32", "send UTF-8")
    if not body.strip(b" \t\r\n"):
        raise StrictError(400, "the body is empty", "send JSON")
    try:
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise StrictError(400, f"the body is not UTF-8 at byte {error.start}", "send UTF-8") from None


def _object(pairs: list[tuple[str, object]]) -> object:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _RepeatedKey(key)
        seen.add(key)
    return members


def _integer(text: str) -> int | _Oversized:
    if len(text) > DIGITS_MAX + 1:  # with the sign; Python refuses to convert very long integers
        return _Oversized("an integer beyond 2^53")
    number = int(text)
    return number if abs(number) <= INT_MAX else _Oversized("an integer beyond 2^53")


def _float(text: str) -> float | _Oversized:
    number = float(text)
    return number if math.isfinite(number) else _Oversized("a number too large for a double")


class _Walk:
    """One pass over a parsed body: counts the values, replaces characters and tracks the place."""

    def __init__(self, altered: bool) -> None:
        self.nodes = 0
        self.altered = altered

    def value(self, parsed: object, pointer: str, depth: int) -> Json:
        """Return the value with its characters replaced. `pointer`: its JSON pointer."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise StrictError(422, f"the body holds more than {NODES_MAX} values", "send it in parts")
        if isinstance(parsed, str):
            return self.text(parsed, pointer)
        if isinstance(parsed, dict):
            return self.members(parsed, pointer, depth + 1)
        if isinstance(parsed, list):
            if depth >= DEPTH_MAX:
                raise _too_deep(pointer)
            return [self.value(item, _below(pointer, str(index)), depth + 1) for index, item in enumerate(parsed)]
        if parsed is None or isinstance(parsed, (bool, int, float)):
            return parsed
        raise _error_of(parsed, pointer)

    def members(self, parsed: dict[str, object], pointer: str, depth: int) -> dict[str, Json]:
        if depth > DEPTH_MAX:
            raise _too_deep(pointer)
        members: dict[str, Json] = {}
        for key, item in parsed.items():
            name = self.text(key, pointer)
            if name in members:  # two keys that differed only in replaced characters
                raise _error_of(_RepeatedKey(name), pointer)
            members[name] = self.value(item, _below(pointer, name), depth)
        return members

    def text(self, parsed: str, pointer: str) -> str:
        # a surrogate counts as three bytes here, as does U+FFFD, which replaces it
        if len(parsed) * 4 > STRING_BYTES_MAX and len(parsed.encode("utf-8", "surrogatepass")) > STRING_BYTES_MAX:
            raise _error(422, pointer, "has a string of more than 64 KiB", "shorten it")
        if parsed.isascii():
            safe = parsed.replace("\x00", _REPLACEMENT)
        else:
            safe = parsed.translate(_SURROGATES)
        if safe != parsed:
            self.altered = True
        return safe


def _error_of(parsed: object, pointer: str) -> StrictError:
    match parsed:
        case _RepeatedKey(key):
            member = _below(pointer, key[:_POINTER_MAX].translate(_SURROGATES))
            return _error(422, member, "is a repeated key", "send each key once")
        case _Constant(name):
            return _error(400, pointer, f"is {name}, which JSON does not have", "leave it out or send null")
        case _Oversized(kind):
            return _error(422, pointer, f"is {kind}", "send it as a string")
    return _error(400, pointer, "is not a JSON value", "send valid JSON")


def _too_deep(pointer: str) -> StrictError:
    return _error(422, pointer, f"is nested deeper than {DEPTH_MAX} levels", "send fewer levels")


def _below(pointer: str, key: str) -> str:
    """Return the pointer of the member `key`. A pointer that is too long to be shown does not grow."""
    if len(pointer) > _POINTER_MAX:
        return pointer
    return f"{pointer}/{key[:_POINTER_MAX].replace('~', '~0').replace('/', '~1')}"


def _error(status: int, pointer: str, predicate: str, remedy: str) -> StrictError:
    if not pointer:
        return StrictError(status, f"the body {predicate}", remedy)
    place = pointer if len(pointer) <= _POINTER_MAX else pointer[:_POINTER_MAX] + "..."
    return StrictError(status, f"{place} {predicate}", remedy, place, predicate)
