"""Reads a CSV file as events to post: the meaning of its columns, and the faults of its rows."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from schemas.errors import FirstHourError
from services.gateway.domain.facts import FLAT

STAND_IN = "applicant.example"  # domain of the made-up address of a row without one
TYPE = "form.submitted"
EMAIL_NAMES = ("email", "e_mail", "email_address", "mail", "work_email")
TIME_NAMES = ("submitted_at", "time", "timestamp", "created_at", "date")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", re.ASCII)
FIELD_NAMES = frozenset({*FLAT, "phone"})


class ReplayError(FirstHourError):
    """Raised when the replay cannot continue. The message has the cause and the remedy."""


class InputError(ReplayError):
    """Raised when the file or an option cannot be read. The message has file, line, cause and remedy."""


@dataclass(frozen=True)
class Columns:
    """The index of each column. None: the file lacks it, and the row's number or a made-up address is used."""

    id: int | None
    email: int | None
    time: int | None
    fields: Mapping[str, int]  # by name of the field in the event
    count: int

    def summary(self, header: Sequence[str]) -> str:
        """Return a line for people about the use of each column."""
        email = f"email from `{header[self.email]}`" if self.email is not None else f"no email: <id>@{STAND_IN} is used"
        id = f"id from `{header[self.id]}`" if self.id is not None else "no id: the row's number is used"
        used = {self.id, self.email, self.time, *self.fields.values()}
        unused = [name for index, name in enumerate(header) if index not in used]
        return "; ".join(
            [
                id,
                email,
                *([f"also sent: {', '.join(sorted(self.fields))}"] if self.fields else []),
                *([f"not sent: {', '.join(unused)} (--map FIELD=COLUMN sends one)"] if unused else []),
            ]
        )


@dataclass(frozen=True)
class CsvRow:
    """One event to post. Rows of the same `person` are posted one after the other."""

    line: int
    id: str
    person: str
    body: bytes


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be posted, or that the installation refused."""

    line: int
    why: str


@dataclass(frozen=True)
class RowOptions:
    """The columns and the form, as the command line names them; None: the column is detected."""

    id: str | None = None
    email: str | None = None
    time: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    form: str = "demo-request"
    keep_times: bool = False


def columns_of(header: Sequence[str], options: RowOptions) -> Columns:
    """Return the columns to read. Raises `InputError` for a named column that the header lacks."""
    plain = [_plain(name) for name in header]
    first = 0 if plain and (plain[0] == "id" or plain[0].endswith("_id")) else None
    return Columns(
        id=_named(header, options.id) if options.id else plain.index("id") if "id" in plain else first,
        email=_named(header, options.email) if options.email else _first(plain, EMAIL_NAMES),
        time=(_named(header, options.time) if options.time else _first(plain, TIME_NAMES))
        if options.keep_times
        else None,
        fields={name: index for index, name in enumerate(plain) if name in FIELD_NAMES}
        | {name: _named(header, column) for name, column in options.fields.items()},
        count=len(header),
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _first(plain: Sequence[str], names: Iterable[str]) -> int | None:
    return next((plain.index(name) for name in names if name in plain), None)


def _named(header: Sequence[str], column: str) -> int:
    if column not in header:
        raise InputError(f"there is no column `{column}`; there are: {', '.join(header)}")
    return header.index(column)


@dataclass
class Source:
    """A CSV file (comma, semicolon or tab; UTF-8), read row by row."""

    path: Path
    options: RowOptions = field(default_factory=RowOptions)

    def __post_init__(self) -> None:
        """Read the header. Raises `InputError` without a file or a header."""
        try:
            with self._open() as lines:
                first = lines.readline()
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}; name a CSV file") from None
        self._delimiter = max(",;\t", key=first.count)
        self.header = next(csv.reader([first], delimiter=self._delimiter), [])
        if not any(name.strip() for name in self.header):
            raise InputError(f"{self.path}:1: has no header; name the columns in the first line")
        try:
            self.columns = columns_of(self.header, self.options)
        except InputError as error:
            raise InputError(f"{self.path}:1: {error}") from None
        if self.options.keep_times and self.columns.time is None:
            raise InputError(f"{self.path}:1: --keep-times needs a column of times; name it with --time COLUMN")

    def _open(self) -> TextIO:
        return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def __iter__(self) -> Iterator[CsvRow | BadRow]:
        ids: dict[str, int] = {}
        with self._open() as lines:
            reader = csv.reader(lines, delimiter=self._delimiter)
            next(reader, None)
            number, line = 0, reader.line_num + 1
            while True:
                try:
                    values = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield BadRow(line, f"is not CSV ({error}); correct the line")
                else:
                    if values:
                        number += 1
                        yield self._row(values, number, line, ids)
                line = reader.line_num + 1

    def _row(self, values: Sequence[str], number: int, line: int, ids: dict[str, int]) -> CsvRow | BadRow:
        columns = self.columns
        if len(values) != columns.count:
            return BadRow(line, f"has {len(values)} columns, the header {columns.count}")
        if any("\ud800" <= c <= "\udfff" for value in values for c in value):
            return BadRow(line, "is not UTF-8; save the file as UTF-8")
        row_id = values[columns.id].strip() if columns.id is not None else str(number)
        if not row_id:
            return BadRow(line, "has no id; name another column with --id")
        first_line = ids.setdefault(row_id, line)
        if first_line != line:
            return BadRow(line, f"has the id of line {first_line}; name another column with --id")
        event: dict[str, Any] = {"id": f"{self.path.stem}:{row_id}", "type": TYPE}
        event["email"] = (
            values[columns.email].strip() if columns.email is not None else f"{_local_part(row_id)}@{STAND_IN}"
        ) or None
        if columns.time is not None:
            at = _moment(values[columns.time])
            if at is None:
                return BadRow(line, f"has no time in `{self.header[columns.time]}`; write 2026-12-01T09:00:00Z")
            event["time"] = at.isoformat()
        texts = {name: values[index].strip() for name, index in columns.fields.items()}
        data = {name: text if name in FIELD_NAMES else _value(text) for name, text in texts.items() if text}
        event["data"] = {"form": self.options.form} | data
        person = str(event["email"] or texts.get("phone") or row_id).lower()
        return CsvRow(line, event["id"], person, json.dumps(event, ensure_ascii=False).encode())


def _local_part(row_id: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", row_id.lower()).strip("-") or "row"


def _value(text: str) -> str | int | float:
    """Return a plain number as a number, so that rules can compare it; `007` stays a text."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def _moment(text: str) -> datetime | None:
    """Return a time of the file; None if it is not one. Without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
