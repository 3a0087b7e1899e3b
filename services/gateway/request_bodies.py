"""Parses bodies by content type and charset: strict JSON, urlencoded and multipart forms.

Errors carry the status of the answer: 400, 413, 415 or 422.
"""

import re
from typing import Final, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from firsthour.runtime.http import strict_json
from firsthour.runtime.http.exact_json import Parsed, StrictError
from firsthour.runtime.http.problem import Problem
from services.gateway.domain.charsets import UTF_8, codec_of, decode
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.forms import fields_of

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FIELDS_MAX: Final = 500
HEADER_MAX: Final = 1_000  # bytes of a content type; a boundary has at most 70 of them

PART_HEADER_MAX: Final = 1_024  # bytes of a header line of a part
PARAMETERS_MAX: Final = 10
"""Parameters of a header line of a part. The cost of parsing grows faster than their number."""

_ENCODED_FILENAME = b"filename*="  # how some programs send a name that is not ASCII; the parser ignores it
_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {f"{a}{b}".encode(): bytes.fromhex(a + b) for a in "0123456789abcdefABCDEF" for b in "0123456789abcdefABCDEF"}
_REPLACEMENT = "\ufffd"
_BYTE_ORDER_MARK = "\ufeff"
_Raw = tuple[bytes, bytes, str | None]
"""Name and value of a field, and the codec of its part. None: the part names no charset."""

Options = dict[bytes, bytes]
_PLAIN: Final[dict[bytes, tuple[str, Options]]] = {
    b"application/json": (JSON, {}),
    b"application/json; charset=utf-8": (JSON, {}),
    b"application/cloudevents+json": ("application/cloudevents+json", {}),
    b"application/x-www-form-urlencoded": (URLENCODED, {}),
}


def parse_content_type(header: bytes) -> tuple[str, Options]:
    """Return the media type, in lower case, and its parameters."""
    common = _PLAIN.get(header)
    if common is not None:
        return common
    media, options = parse_options_header(header[:HEADER_MAX].decode("latin-1"))
    return media.decode("latin-1"), options


def _codec(options: Options) -> str:
    """Return the codec of the declared charset; UTF-8 without one. Raises `UnmappableError` 415."""
    declared = options.get(b"charset")
    if declared is None:
        return UTF_8
    codec = codec_of(declared)
    if codec is None:
        raise UnmappableError("header:Content-Type", "names an unknown charset", "send UTF-8", 415)
    return codec


def is_json(media: str) -> bool:
    """Tell whether a media type is `application/json` or ends in `+json`, as `application/vnd.x+json` does."""
    return media == JSON or (media.endswith("+json") and media.startswith("application/"))


def reject_type(media: str, expected: str) -> NoReturn:
    """Raise `Problem` 415."""
    shown = media if 0 < len(media) <= 100 and media.isascii() and media.isprintable() else "unknown"
    raise Problem(
        415,
        "Unsupported Media Type",
        f"The content type is {shown}. Send {expected}.",
        headers={"Accept-Post": expected},
    )


def parse_json(body: bytes, options: Options | None = None) -> Parsed:
    """Return the value of a JSON body. Raises `UnmappableError` with the status to answer.

    JSON is UTF-8, whatever charset is declared. Only a body that is not UTF-8 is decoded in the declared charset.
    """
    altered = False
    if options and b"charset" in options and not _is_utf_8(body) and (codec := _codec(options)) != UTF_8:
        text = decode(body, codec)
        body, altered = text.encode(), _REPLACEMENT in text
    try:
        parsed = strict_json.parse(body)
    except StrictError as error:
        title = "Invalid JSON" if error.status == 400 else ""
        raise UnmappableError(f"#{error.pointer}", error.predicate, error.remedy, error.status, title) from None
    return Parsed(parsed.value, True) if altered else parsed


def _is_utf_8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_form(body: bytes, media: str, options: Options) -> tuple[dict[str, Json], bool]:
    """Return the fields of a form, and whether characters in them were replaced. Raises `UnmappableError`."""
    if media == URLENCODED:
        return _decode_fields(_urlencoded(body), _codec(options))
    if media == MULTIPART:
        return _decode_fields(_multipart(body, options.get(b"boundary", b"")), _codec(options))
    if media == JSON:
        parsed = parse_json(body, options)
        if not isinstance(parsed.value, dict):
            raise UnmappableError("#", "is not an object", 'send {"email": "ann@example.com", ...}')
        return parsed.value, parsed.altered
    fault = "is not a media type of forms"
    raise UnmappableError("header:Content-Type", fault, f"send {URLENCODED}, {MULTIPART} or {JSON}", 415)


def _decode_fields(raw: list[_Raw], codec: str) -> tuple[dict[str, Json], bool]:
    """Decode the fields in the charset of their part, else of the field `_charset_`, else with `codec`.

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
            pairs.append(
                (
                    texts[0].replace("\x00", _REPLACEMENT).lstrip(_BYTE_ORDER_MARK),
                    texts[1].replace("\x00", _REPLACEMENT),
                )
            )
    except UnicodeDecodeError:
        fault, remedy = "the form is not UTF-8", 'send UTF-8: <form accept-charset="utf-8">, or name its charset'
        raise UnmappableError("#", fault, remedy, 400) from None
    return fields_of(pairs), altered


def _urlencoded(body: bytes) -> list[_Raw]:
    if body.count(b"&") >= FIELDS_MAX:
        _reject_many_fields()
    pairs = [field.partition(b"=") for field in body.removeprefix(_BYTE_ORDER_MARK.encode()).split(b"&") if field]
    return [(_unquote(name), _unquote(value), None) for name, _, value in pairs]


def _unquote(text: bytes) -> bytes:
    """Decode percent signs. The standard library takes three times as long for a body full of them."""
    return _QUOTED.sub(_byte, text.replace(b"+", b" "))


def _byte(quoted: re.Match[bytes]) -> bytes:
    return _BYTES[quoted[1]]


def _reject_many_fields() -> NoReturn:
    raise UnmappableError("#", f"the form has more than {FIELDS_MAX} fields", "send fewer fields")


class _MultipartFields:
    """Collects the text fields of a multipart body. Its methods are callbacks of the parser."""

    def __init__(self) -> None:
        self.pairs: list[_Raw] = []
        self.complete = False
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value, self._body = bytearray(), bytearray(), bytearray()

    def begin(self) -> None:
        self._reset()
        if len(self.pairs) >= FIELDS_MAX:
            _reject_many_fields()

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
            if options.get(b"filename") or self._body:  # an empty name and an empty body: a file field without a file
                raise UnmappableError("#", "the form has a file", "send text fields only", 415)
            return
        own = self._parameters(b"content-type")[1].get(b"charset")
        self.pairs.append((name, bytes(self._body), codec_of(own) if own else None))

    def _parameters(self, header: bytes) -> tuple[bytes, Options]:
        line = self._headers.get(header, b"")
        if line.count(b";") > PARAMETERS_MAX:
            fault = f"a header of a part has more than {PARAMETERS_MAX} parameters"
            raise UnmappableError("#", fault, "send only the name and the charset", 400)
        return parse_options_header(line.decode("latin-1"))

    def finish(self) -> None:
        self.complete = True


def _multipart(body: bytes, boundary: bytes) -> list[_Raw]:
    if not 0 < len(boundary) <= 200:
        raise UnmappableError("header:Content-Type", "has no boundary", "send `multipart/form-data; boundary=...`", 400)
    fields = _MultipartFields()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": fields.begin,
                "on_header_field": fields.header_name,
                "on_header_value": fields.header_value,
                "on_header_end": fields.header_end,
                "on_part_data": fields.data,
                "on_part_end": fields.end,
                "on_end": fields.finish,
            },
            max_header_size=PART_HEADER_MAX,
        )
        parser.write(body.removeprefix(_BYTE_ORDER_MARK.encode()))
        parser.finalize()
    except FormParserError:
        fields.complete = False
    if not fields.complete:
        raise UnmappableError("#", "the multipart body is incomplete", "end it with the closing boundary", 400)
    return fields.pairs
