"""The file of rejected rows, `leads.rejected.csv` for `leads.csv`: it can be corrected and imported again.

The first column has the error, the others are those of the imported file. A spreadsheet runs a cell that begins with `=`
as a formula, so such a cell gets an apostrophe, which a later import removes.
"""

import csv
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

ERROR_COLUMN: Final = "firsthour_error"
CELL_MAX: Final = 32_000  # characters; a spreadsheet takes 32,767
_FORMULA = re.compile(r"[\s'\ufeff]*[=+\-@]|'*[\t\r]")  # the beginning of a cell that a spreadsheet may run


def escaped(cell: str) -> str:
    """Return the cell as a text that no spreadsheet runs."""
    cell = cell.replace("\0", "\ufffd")[:CELL_MAX]
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """Return the cell without the apostrophe that `escaped` added."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell[1:]) else cell


def free_name(file: Path) -> str:
    """Return the name of the file of rejected rows. An earlier one stays: a person may be correcting it."""
    numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (f"{file.stem}.rejected{number}.csv" for number in numbers)
    return next(name for name in names if not file.with_name(name).exists())


def own_columns(header: Sequence[str]) -> list[str]:
    """Return the columns of the list itself: without the first one if it has the errors of an earlier import."""
    return list(header[1:] if has_errors(header) else header)


def has_errors(header: Sequence[str]) -> bool:
    """Tell whether the list is a file of rejected rows."""
    return bool(header) and header[0] == ERROR_COLUMN


class RejectedRows:
    """Writes the file. `kept`: the bytes of an earlier, stopped import that stay in it."""

    def __init__(self, path: Path, header: Sequence[str], separator: str, kept: int = 0) -> None:
        self.path = path
        self._header = own_columns(header)
        self._separator = separator
        self._kept = kept
        self._file: TextIO | None = None

    def add(self, cells: Sequence[str], error: str) -> None:
        """Add a row with its error."""
        file = self._opened()
        csv.writer(file, delimiter=self._separator, lineterminator="\r\n").writerow([*map(escaped, (error, *cells))])

    def sync(self) -> int:
        """Write the rows to the disk. Return the bytes of the file."""
        if self._file is None:
            return self._kept
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> TextIO:
        if self._file is None:
            self._file = self.path.open("r+" if self._kept else "w", encoding="utf-8", newline="", errors="replace")
            self._file.truncate(self._kept)
            self._file.seek(0, os.SEEK_END)
            if not self._kept:
                self._file.write("\ufeff")
                header = [ERROR_COLUMN, *map(escaped, self._header)]
                csv.writer(self._file, delimiter=self._separator, lineterminator="\r\n").writerow(header)
        return self._file
