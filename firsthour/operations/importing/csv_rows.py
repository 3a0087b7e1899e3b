"""Reads the rows of a CSV file, one at a time and in bounded memory. A row that is not CSV is a faulty row, not an end."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

from firsthour.operations.importing.csv_format import CsvFormat
from firsthour.operations.importing.rejected_rows import has_errors, own_columns, unescaped

LINE_CHARS_MAX: Final = 1_000_000
CELL_CHARS_MAX: Final = 10_000
ROW_CHARS_MAX: Final = 60_000
RAW_CHARS_MAX: Final = 2_000
"""Characters of a row that is not CSV, which the file of rejected rows shows."""


@dataclass(frozen=True)
class CsvRecord:
    """One row. `number`: of the row, from 1. `line`: where it begins. `fault`: why it cannot be used; empty: it can."""

    number: int
    line: int
    cells: tuple[str, ...]
    fault: str = ""


class _Lines:
    """The lines of a text, each of at most `LINE_CHARS_MAX` characters. The rest of a longer line is dropped."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.number = 0
        self.too_long = False
        self.raw = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_CHARS_MAX)
        if not line:
            raise StopIteration
        self.number += 1
        if len(self.raw) < RAW_CHARS_MAX:
            self.raw = (self.raw + line)[:RAW_CHARS_MAX]
        if len(line) == LINE_CHARS_MAX and not line.endswith("\n"):
            self.too_long = True
            while (rest := self._text.readline(LINE_CHARS_MAX)) and not rest.endswith("\n"):
                pass
            return "\n"
        return line


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
            line, lines.too_long, lines.raw = lines.number + 1, False, ""
            fault, cells = "", []
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = _not_csv(error)
            except UnicodeError:
                yield CsvRecord(number + 1, line, (), f"is not {file.encoding}; name the encoding with --encoding")
                return  # the decoder does not go on
            if lines.too_long:
                fault = f"is longer than {LINE_CHARS_MAX:,} characters; shorten it"
            if not fault and not any(cells):
                continue
            number += 1
            if fault:
                yield CsvRecord(number, line, (lines.raw.rstrip("\r\n"),), fault)
                continue
            if ignores_error:
                cells = [unescaped(cell) for cell in cells[1:]]
            yield _checked(number, line, cells, count, file.encoding)


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
        return "has a quotation mark without its second one; add it, or double it if it is a character"
    return f"is not CSV ({text}); correct the row"
