"""One import as the command line asks for it: the file, the meaning of its columns, and where it begins."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from firsthour.operations.importing import columns, csv_format, csv_rows, position
from firsthour.operations.importing.batches import ImportItem, batches_of
from firsthour.operations.importing.columns import ListColumn, ListKind
from firsthour.operations.importing.csv_format import CsvFormat, UnreadableFileError
from firsthour.operations.importing.position import ImportPosition
from firsthour.operations.importing.row_events import RowEvents
from schemas.values import shown


@dataclass(frozen=True)
class ImportPlan:
    """The file, its columns and the options of one import. `digest`: of the file and of every option."""

    kind: ListKind
    file: CsvFormat
    columns: Sequence[ListColumn]
    id_index: int | None
    digest: str

    def batches(self, skip: int = 0) -> Iterator[list[ImportItem]]:
        """Yield the rows in batches. `skip`: rows that are handled already."""
        maker = RowEvents(self.kind, self.columns, self.id_index, self.file.digest)
        return batches_of(islice(csv_rows.records(self.file), skip, None), maker)

    def start(self) -> ImportPosition:
        """Return where the import begins: after the rows of an import of this plan that was stopped."""
        return position.load(self.file.path, self.digest)

    def shown(self) -> list[dict[str, Any]]:
        """Return the columns for people and programs."""
        return [
            {"column": one.name, "becomes": one.target, "id": one.index == self.id_index or None}
            for one in self.columns
        ]


def plan_of(
    kind: ListKind,
    path: Path,
    *,
    source: str,
    maps: Iterable[str],
    id_column: str | None,
    encoding: str | None,
    separator: str | None,
    target: str,
) -> ImportPlan:
    """Return the plan of an import.

    Args:
        kind: The kind of the list.
        path: The file.
        source: The source of its events.
        maps: `FIELD=COLUMN`, or files with such lines.
        id_column: The column of ids. None: there is none.
        encoding: Of the file. None: it is guessed.
        separator: Of the file. None: it is guessed.
        target: The installation. An import into another one begins at the first row.

    Raises:
        UnreadableFileError: The file or an option is wrong.
    """
    file = csv_format.inspect(path, encoding, separator)
    chosen = chosen_columns(maps)
    try:
        found, id_index = columns.columns_of(kind, file.header, chosen, id_column)
    except UnreadableFileError as error:
        raise UnreadableFileError(f"{path}:{file.first_line}: {error}") from None
    options = [kind, source, sorted(chosen.items()), id_column, file.encoding, file.separator, target]
    digest = sha256(json.dumps([file.digest, *options]).encode()).hexdigest()
    return ImportPlan(kind, file, found, id_index, digest)


def chosen_columns(maps: Iterable[str]) -> Mapping[str, str]:
    """Return the column of each field. A file has one `FIELD=COLUMN` or `FIELD: COLUMN` on each line."""
    chosen: dict[str, str] = {}
    for item in maps:
        if "=" in item:
            _add(chosen, item, "=", f"--map {item}")
            continue
        try:
            lines = Path(item).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            raise UnreadableFileError(f"--map {item}: is neither FIELD=COLUMN nor a file; write company=Firm") from None
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                _add(chosen, line, "=" if "=" in line else ":", f"{item}:{number}:1")
    return chosen


def _add(chosen: dict[str, str], text: str, sign: str, place: str) -> None:
    field, separator, column = (part.strip() for part in text.partition(sign))
    if not (separator and field and column):
        raise UnreadableFileError(f"{place}: {shown(text)} is not FIELD=COLUMN; write for example company=Firm")
    chosen[field] = column.strip("'\"")
