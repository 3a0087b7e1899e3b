"""Takes bodies apart by content type and charset: strict JSON, urlencoded and multipart forms. Says 415, 400, 413 or 422."""

import re
from typing import Final, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from firsthour.runtime.http import strict_json
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.strict_json import Parsed, StrictError
from services.gateway.domain.charsets import UTF_8, codec_of, decode
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.forms import fields_of

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FIELDS_MAX: Final = 500
HEADER_MAX: Final = 1_000  # bytes of a content type; a boundary has at most 70

PART_HEADER_MAX: Final = 1_024  # bytes of a line in the head of a part
PARAMETERS_MAX: Final = (
    10  # of such a line; to read n of them takes more than n steps, and a body has hundreds of lines
)

_ENCODED_FILENAME = b"filename*="  # as some programs send a name that is not ASCII; the parser passes over it
_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {f"{a}{b}".encode(): bytes.fromhex(a + b) for a in "0123456789abcdefABCDEF" for b in "0123456789abcdefABCDEF"}
_REPLACEMENT = "\ufffd"
_MARK = "\ufeff"  # the byte order mark
_Raw = tuple[bytes, bytes, str | None]
"""Name and value of a field, and the charset of its own."""

Options = dict[bytes, bytes]
_PLAIN: Final[dict[bytes, tuple[str, Options]]] = {
    b"application/json": (JSON, {}),
    b"application/json; charset=utf-8": (JSON, {}),
    b"application/cloudevents+json": ("application/cloudevents+json", {}),
    b"application/x-www-form-urlencoded": (URLENCODED, {}),
}


def parse_content_type(header: bytes) -> tuple[str, Options]:
    """The media type, in lower case, and its parameters."""
    known = _PLAIN.get(header)
    if known is not None:
        return known
    media, options = parse_options_header(header[:HEADER_MAX].decode("latin-1"))
    return media.decode("latin-1"), options


def _codec(options: Options) -> str:
    """The declared charset; UTF-8 without one. Raises `UnmappableError` 415."""
    declared = options.get(b"charset")
    if declared is None:
        return UTF_8
    codec = codec_of(declared)
    if codec is None:
        raise UnmappableError("header:Content-Type", "names a charset that is not known", "send UTF-8", 415)
    return codec


def is_json(media: str) -> bool:
    """`application/json` and its kin (`application/vnd.x+json`)."""
    return media == JSON or (media.endswith("+json") and media.startswith("application/"))


def reject_type(media: str, wanted: str) -> NoReturn:
    """Raises `Problem` 415."""
    shown = media if 0 < len(media) <= 100 and media.isascii() and media.isprintable() else "none that is known"
    raise Problem(
        415, "Unsupported media type", f"The content type is {shown}. Send {wanted}.", headers={"Accept-Post": wanted}
    )


def parse_json(body: bytes, options: Options | None = None) -> Parsed:
    """The value of a JSON body. Raises `UnmappableError` with the status to answer.

    JSON is UTF-8 whatever is declared; a body that is not is read in the charset that the options declare.
    """
    altered = False
    if options and b"charset" in options and not _is_utf_8(body) and (codec := _codec(options)) != UTF_8:
        text = decode(body, codec)
        body, altered = text.encode(), _REPLACEMENT in text
    try:
        parsed = strict_json.parse(body)
    except StrictError as wrong:
        raise UnmappableError(f"#{wrong.pointer}", wrong.predicate, wrong.remedy, wrong.status) from None
    return Parsed(parsed.value, True) if altered else parsed


def _is_utf_8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_form(body: bytes, media: str, options: Options) -> tuple[dict[str, Json], bool]:
    """The fields of a form, and whether something in them was replaced. Raises `UnmappableError`."""
    if media == URLENCODED:
        return _read(_urlencoded(body), _codec(options))
    if media == MULTIPART:
        return _read(_multipart(body, options.get(b"boundary", b"")), _codec(options))
    if media == JSON:
        parsed = parse_json(body, options)
        if not isinstance(parsed.value, dict):
            raise UnmappableError("#", "is not an object", 'send {"email": "ann@example.com", ...}')
        return parsed.value, parsed.altered
    what = "is not the type of a form"
    raise UnmappableError("header:Content-Type", what, f"send {URLENCODED}, {MULTIPART} or {JSON}", 415)


def _read(raw: list[_Raw], codec: str) -> tuple[dict[str, Json], bool]:
    """The fields as text: in the charset of their part, else the one that the field `_charset_` names, else `codec`.

    NUL becomes U+FFFD, as in JSON.
    """
    named = next((codec_of(value) for name, value, _ in raw if name == b"_charset_"), None)
    codec = named or codec
    altered = False
    pairs: list[tuple[str, str]] = []
    try:
        for name, value, own in raw:
            texts = decode(name, codec), decode(value, own or codec)
            altered = altered or any("\x00" in text or (codec != UTF_8 and _REPLACEMENT in text) for text in texts)
            pairs.append((texts[0].replace("\x00", _REPLACEMENT).lstrip(_MARK), texts[1].replace("\x00", _REPLACEMENT)))
    except UnicodeDecodeError:
        what, remedy = "the form is not UTF-8", 'send UTF-8: <form accept-charset="utf-8">, or name its charset'
        raise UnmappableError("#", what, remedy, 400) from None
    return fields_of(pairs), altered


def _urlencoded(body: bytes) -> list[_Raw]:
    if body.count(b"&") >= FIELDS_MAX:
        _too_many()
    pairs = [field.partition(b"=") for field in body.removeprefix(_MARK.encode()).split(b"&") if field]
    return [(_unquoted(name), _unquoted(value), None) for name, _, value in pairs]


def _unquoted(text: bytes) -> bytes:
    """Decode percent signs as the standard library does, which takes three times as long for a body full of them."""
    return _QUOTED.sub(_byte, text.replace(b"+", b" "))


def _byte(quoted: re.Match[bytes]) -> bytes:
    return _BYTES[quoted[1]]


def _too_many() -> NoReturn:
    raise UnmappableError("#", f"the form has more than {FIELDS_MAX} fields", "send fewer")


class _Parts:
    """Collects the text parts of a multipart body."""

    def __init__(self) -> None:
        self.pairs: list[_Raw] = []
        self.ended = False
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value, self._body = bytearray(), bytearray(), bytearray()

    def begin(self) -> None:
        self._begin()
        if len(self.pairs) >= FIELDS_MAX:
            _too_many()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def data(self, data: bytes, start: int, end: int) -> None:
        self._body += data[start:end]

    def end(self) -> None:
        kind, options = self._parameters(b"content-disposition")
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise UnmappableError(
                "#", "a part of the form has no name", "send form-data with a name for each part", 400
            )
        if b"filename" in options or _ENCODED_FILENAME in self._headers[b"content-disposition"].lower():
            if options.get(b"filename") or self._body:  # an empty one is a file field left alone
                raise UnmappableError("#", "the form holds a file", "send text fields alone; leave files out", 415)
            return
        own = self._parameters(b"content-type")[1].get(b"charset")
        self.pairs.append((name, bytes(self._body), codec_of(own) if own else None))

    def _parameters(self, header: bytes) -> tuple[bytes, Options]:
        line = self._headers.get(header, b"")
        if line.count(b";") > PARAMETERS_MAX:
            what = f"the head of a part has more than {PARAMETERS_MAX} parameters"
            raise UnmappableError("#", what, "send its name and its charset alone", 400)
        return parse_options_header(line.decode("latin-1"))

    def finished(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes) -> list[_Raw]:
    if not 0 < len(boundary) <= 200:
        raise UnmappableError("header:Content-Type", "has no boundary", "send `multipart/form-data; boundary=...`", 400)
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
                "on_end": parts.finished,
            },
            max_header_size=PART_HEADER_MAX,
        )
        parser.write(body.removeprefix(_MARK.encode()))
        parser.finalize()
    except FormParserError:
        parts.ended = False
    if not parts.ended:
        raise UnmappableError("#", "the body is not whole multipart/form-data", "end it with the closing boundary", 400)
    return parts.pairs
