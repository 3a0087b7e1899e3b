"""Guesses how a CSV file is written: its encoding and its separator. One pass over the file, in bounded memory."""

import codecs
import csv
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from schemas.errors import FirstHourError

SEPARATORS: Final = ",;\t|"
SEPARATOR_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
COLUMNS_MAX: Final = 200
HEADER_CHARS_MAX: Final = 100_000
SAMPLE_BYTES: Final = 65_536
_CHUNK: Final = 1 << 20
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel begin, the new and the old
_BINARY: Final = frozenset(range(32)) - frozenset(b"\t\n\r\x0c")


class UnreadableFileError(FirstHourError):
    """Raised when a file cannot be imported as it is. The message has file, line, cause and remedy."""


@dataclass(frozen=True)
class CsvFormat:
    """The format of one file.

    `digest`: of all its bytes, in hexadecimal. `first_line`: the line of the header. `lines`: about how many there are.
    """

    path: Path
    encoding: str
    separator: str
    digest: str
    header: tuple[str, ...]
    first_line: int
    lines: int

    def __str__(self) -> str:
        encoding = {"utf-8-sig": "utf-8 with a mark", "cp1252": "windows-1252"}.get(self.encoding, self.encoding)
        separator = SEPARATOR_NAMES.get(self.separator, self.separator)
        return f"encoding {encoding}, separator {separator}, {len(self.header)} columns"


def inspect(path: Path, encoding: str | None = None, separator: str | None = None) -> CsvFormat:
    """Return the format of a file. `encoding`, `separator`: None: they are guessed.

    Raises:
        UnreadableFileError: There is no such file, or it has no header that can be read.
    """
    try:
        _reject_binary(path)
        guessed, digest, lines = _scan(path)
        encoding = guessed if encoding is None else _known(encoding)
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
            first, line = text.readline(HEADER_CHARS_MAX), 1
            if first[:4].lower() == "sep=" and first.strip()[4:]:  # how Excel names the separator
                separator = separator or first[4]
                first, line = text.readline(HEADER_CHARS_MAX), 2
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}; name a CSV file") from None
    except UnicodeError:
        raise UnreadableFileError(f"{path}:1: is not {encoding}; name its encoding with --encoding") from None
    separator = separator or max(SEPARATORS, key=lambda one: len(_cells(first, one)))
    header = tuple(name.strip() for name in _cells(first, separator))
    if not any(header):
        raise UnreadableFileError(f"{path}:{line}: has no header; name the columns in the first line")
    if len(header) > COLUMNS_MAX or len(first) >= HEADER_CHARS_MAX:
        mistake = f"the header has more than {COLUMNS_MAX} columns or {HEADER_CHARS_MAX:,} characters"
        raise UnreadableFileError(f"{path}:{line}: {mistake}; leave out the columns that you do not need")
    return CsvFormat(path, encoding, separator, digest, header, line, lines)


def _reject_binary(path: Path) -> None:
    """Raise `UnreadableFileError` for a workbook, and for another file whose first line is no text."""
    with path.open("rb") as file:
        first = file.readline(SAMPLE_BYTES)
    if first.startswith(_WORKBOOKS):
        raise UnreadableFileError(f"{path}: is a workbook or an archive; save it as CSV (UTF-8), and import that file")
    wide = first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _wide(first)
    if not wide and len(_BINARY.intersection(first)) > 1:
        raise UnreadableFileError(f"{path}:1: is not text; name a CSV file")


def _scan(path: Path) -> tuple[str, str, int]:
    """Return the encoding, the digest and the number of lines of a file."""
    digest, lines, is_utf_8 = sha256(), 0, True
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
        chunk = sample
        while chunk:
            digest.update(chunk)
            lines += chunk.count(b"\n")
            if is_utf_8:
                is_utf_8 = _decodes(decoder, chunk)
            chunk = file.read(_CHUNK)
        is_utf_8 = is_utf_8 and _decodes(decoder, b"", final=True)
    marked = next((encoding for mark, encoding in _MARKS if sample.startswith(mark)), None)
    encoding = marked or _wide(sample) or "utf-8"
    if encoding.startswith("utf-8") and not is_utf_8:
        encoding = "cp1252"
    return encoding, digest.hexdigest(), lines


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _wide(sample: bytes) -> str:
    """Return the encoding of UTF-16 without a mark; empty: most characters do not have a zero byte."""
    half = len(sample) // 2
    if half < 2:
        return ""
    if sample[1::2].count(0) > 0.6 * half and sample[::2].count(0) < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if sample[::2].count(0) > 0.6 * half and sample[1::2].count(0) < 0.1 * half else ""


def _known(encoding: str) -> str:
    """Return the name of an encoding of texts. Raises `UnreadableFileError` for an unknown one."""
    try:
        info = codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, UnicodeError):
        info = None
    if info is None or not getattr(info, "_is_text_encoding", False):
        raise UnreadableFileError(f"--encoding {encoding}: is unknown; write utf-8, utf-16 or windows-1252")
    return "utf-8-sig" if info.name == "utf-8" else info.name


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.lstrip("\ufeff")], delimiter=separator), [])
    except csv.Error:
        return []
