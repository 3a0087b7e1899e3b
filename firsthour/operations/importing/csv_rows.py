"""Reads the rows of a CSV file, one at a time and in bounded memory. A row that is not CSV is a faulty row, not an end."""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TextIO

from firsthour.operations.importing.csv_format import CsvFormat
from firsthour.operations.importing.rejected_rows import CELL_MAX, has_errors, own_columns, unescaped

LINE_CHARS_MAX: Final = 1_000_000
CELL_CHARS_MAX: Final = 10_000
ROW_CHARS_MAX: Final = 60_000
RAW_CHARS_MAX: Final = CELL_MAX
"""Characters of a row that is not CSV, which the file of rejected rows shows."""
_UNCLOSED: Final = "has a quotation mark without its second one; add it, or double it if it is a character"


@dataclass(frozen=True)
class CsvRecord:
    """One row. `number`: of the row, from 1. `line`: where it begins. `fault`: why it cannot be used; empty: it can."""

    number: int
    line: int
    cells: tuple[str, ...]
    fault: str = ""


class _CsvLine(NamedTuple):
    """A line: what the reader of the rows gets, and how it begins. `is_cut`: it was too long, and the reader gets none of it."""

    text: str
    raw: str
    is_cut: bool


class _Lines:
    """The lines of a text, each of at most `LINE_CHARS_MAX` characters. The rest of a longer line is dropped."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again: deque[_CsvLine] = deque()
        self._of_row: list[_CsvLine] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        self.number += 1
        self._of_row.append(line)
        return line.text

    def begin_row(self) -> None:
        """Begin the next row."""
        self._of_row.clear()

    @property
    def raw(self) -> str:
        """How the row begins."""
        return self._of_row[0].raw.rstrip("\r\n") if self._of_row else ""

    @property
    def is_cut(self) -> bool:
        """Whether a line of the row was too long."""
        return any(line.is_cut for line in self._of_row)

    @property
    def has_several(self) -> bool:
        """Whether the row has several lines."""
        return len(self._of_row) > 1

    def read_again(self) -> None:
        """End the row after its first line. The others are rows of their own: a quotation mark too many took them in."""
        self._again.extendleft(reversed(self._of_row[1:]))
        self.number -= len(self._of_row) - 1
        del self._of_row[1:]

    def _read(self) -> _CsvLine:
        line = self._text.readline(LINE_CHARS_MAX)
        if not line:
            raise StopIteration
        raw = line[:RAW_CHARS_MAX]
        if len(line) < LINE_CHARS_MAX or line.endswith("\n"):
            return _CsvLine(line, raw, is_cut=False)
        while (rest := self._text.readline(LINE_CHARS_MAX)) and not rest.endswith("\n"):
            pass
        return _CsvLine("\n", raw, is_cut=True)


def records(file: CsvFormat) -> Iterator[CsvRecord]:
    """Yield every row of the file that is not blank, in its order."""
    ignores_error, count = has_errors(file.header), len(own_columns(file.header))
    with file.path.open(encoding=file.encoding, errors="surrogateescape", newline="") as text:
        lines = _Lines(text)
        for _ in range(file.first_line):
            next(lines, "")
        reader = csv.reader(lines, delimiter=file.separator, strict=True)
        number = 0
        while True:
            line = lines.number + 1
            lines.begin_row()
            try:
                cells, fault = _next_row(reader, lines)
            except StopIteration:
                return
            except UnicodeError:
                yield CsvRecord(number + 1, line, (), f"is not {file.encoding}; name the encoding with --encoding")
                return  # the decoder does not go on
            if fault:
                number += 1
                yield CsvRecord(number, line, (lines.raw,), fault)
                lines.read_again()
                reader = csv.reader(lines, delimiter=file.separator, strict=True)
            elif any(cells):
                number += 1
                if ignores_error:
                    cells = [unescaped(cell) for cell in cells[1:]]
                yield _checked(number, line, cells, count, file.encoding)


def _next_row(reader: Iterator[list[str]], lines: _Lines) -> tuple[list[str], str]:
    """Return the cells of the next row, and why it cannot be used; empty: it can."""
    try:
        cells = next(reader)
    except csv.Error as error:
        return [], _not_csv(error)
    if lines.is_cut:
        return [], f"is longer than {LINE_CHARS_MAX:,} characters; shorten it" if not lines.has_several else _UNCLOSED
    if lines.has_several and any(len(cell) > CELL_CHARS_MAX for cell in cells):
        return [], _UNCLOSED
    return cells, ""


def _checked(number: int, line: int, cells: list[str], count: int, encoding: str) -> CsvRecord:
    """Return the row with the fault that it has, if any."""
    while len(cells) > count and not cells[-1].strip():
        cells.pop()
    fault = ""
    if len(cells) != count:
        fault = f"has {len(cells)} columns, the header has {count}; correct the row"
    elif any(len(cell) > CELL_CHARS_MAX for cell in cells) or sum(map(len, cells)) > ROW_CHARS_MAX:
        fault = f"has a cell of more than {CELL_CHARS_MAX:,} characters, or {ROW_CHARS_MAX:,} in all; shorten it"
    elif any("\0" in cell for cell in cells):
        fault = "has a NUL character; remove it"
    elif any(not cell.isascii() and any("\ud800" <= c <= "\udfff" for c in cell) for cell in cells):
        fault = f"has bytes that are not {encoding}; name the encoding with --encoding"
    return CsvRecord(number, line, tuple(cells), fault)


def _not_csv(error: csv.Error) -> str:
    text = str(error)
    if "field larger" in text or "unexpected end" in text:
        return _UNCLOSED
    return f"is not CSV ({text}); correct the row"
