"""Takes bodies apart by their content type: strict JSON, urlencoded and multipart forms. Says 415, 400, 413 or 422."""

from typing import Final, NoReturn
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.gateway.domain.forms import fields_of
from services.gateway.domain.values import Json, UnmappableError
from services.runtime import strict_json
from services.runtime.problem import Problem
from services.runtime.strict_json import Parsed, StrictError

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FIELDS_MAX: Final = 500

Options = dict[bytes, bytes]
_PLAIN: Final[dict[bytes, tuple[str, Options]]] = {
    b"application/json": (JSON, {}),
    b"application/json; charset=utf-8": (JSON, {}),
    b"application/cloudevents+json": ("application/cloudevents+json", {}),
    b"application/x-www-form-urlencoded": (URLENCODED, {}),
}


def content_type(header: bytes) -> tuple[str, Options]:
    """The media type, in lower case, and its parameters. Raises `Problem` 415 for text in anything but UTF-8."""
    known = _PLAIN.get(header)
    if known is not None:
        return known
    media, options = parse_options_header(header.decode("latin-1"))
    charset = options.get(b"charset", b"utf-8").lower()
    if charset not in (b"utf-8", b"utf8"):
        raise Problem(415, "Unsupported charset", "Send UTF-8, and say `charset=utf-8` or nothing.")
    return media.decode("latin-1"), options


def is_json(media: str) -> bool:
    """`application/json` and its kin (`application/vnd.x+json`)."""
    return media == JSON or (media.endswith("+json") and media.startswith("application/"))


def refuse_type(media: str, wanted: str) -> NoReturn:
    """Raises `Problem` 415."""
    shown = media if 0 < len(media) <= 100 and media.isascii() and media.isprintable() else "none that is known"
    raise Problem(
        415, "Unsupported media type", f"The content type is {shown}. Send {wanted}.", headers={"Accept-Post": wanted}
    )


def json(body: bytes) -> Parsed:
    """The value of a JSON body. Raises `UnmappableError` with the status to answer."""
    try:
        return strict_json.parse(body)
    except StrictError as wrong:
        raise UnmappableError(f"#{wrong.pointer}", wrong.predicate, wrong.remedy, wrong.status) from None


def form(body: bytes, media: str, options: Options) -> tuple[dict[str, Json], bool]:
    """The fields of a form, and whether something in them was replaced. Raises `Problem` 415, `UnmappableError`."""
    if media == URLENCODED:
        return _replaced(_urlencoded(body))
    if media == MULTIPART:
        return _replaced(_multipart(body, options.get(b"boundary", b"")))
    if media == JSON:
        parsed = json(body)
        if not isinstance(parsed.value, dict):
            raise UnmappableError("#", "is not an object", 'send {"email": "ann@example.com", ...}')
        return parsed.value, parsed.altered
    refuse_type(media, f"{URLENCODED}, {MULTIPART}, {JSON}")


def _replaced(pairs: list[tuple[str, str]]) -> tuple[dict[str, Json], bool]:
    """NUL becomes U+FFFD, as in JSON."""
    altered = any("\x00" in name or "\x00" in value for name, value in pairs)
    if altered:
        pairs = [(name.replace("\x00", "\ufffd"), value.replace("\x00", "\ufffd")) for name, value in pairs]
    return fields_of(pairs), altered


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except UnicodeDecodeError:
        raise UnmappableError("#", "the body is not UTF-8", 'send UTF-8: <form accept-charset="utf-8">', 400) from None
    except ValueError:
        _too_many()


def _too_many() -> NoReturn:
    raise UnmappableError("#", f"the form has more than {FIELDS_MAX} fields", "send fewer")


class _Parts:
    """Collects the text parts of a multipart body."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
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
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        kind, options = parse_options_header(disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise UnmappableError(
                "#", "a part of the form has no name", "send form-data with a name for each part", 400
            )
        if b"filename" in options:
            if options[b"filename"] or self._body:  # an empty one is a file field left alone
                raise Problem(415, "Files are not taken", "Send text fields alone; leave files out.")
            return
        self.pairs.append((name.decode(), self._body.decode()))

    def finished(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes) -> list[tuple[str, str]]:
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
        )
        parser.write(body)
        parser.finalize()
    except UnicodeDecodeError:
        raise UnmappableError("#", "the form is not UTF-8", 'send UTF-8: <form accept-charset="utf-8">', 400) from None
    except FormParserError:
        parts.ended = False
    if not parts.ended:
        raise UnmappableError("#", "the body is not whole multipart/form-data", "end it with the closing boundary", 400)
    return parts.pairs
