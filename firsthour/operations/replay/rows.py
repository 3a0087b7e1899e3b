"""Reads a CSV file as events to post: which column holds what, and what is wrong with a row."""

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

STAND_IN = "applicant.example"  # where rows without an address of their own seem to write from
TYPE = "form.submitted"
EMAIL_NAMES = ("email", "e_mail", "email_address", "mail", "work_email")
TIME_NAMES = ("submitted_at", "time", "timestamp", "created_at", "date")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", re.ASCII)
FIELD_NAMES = frozenset({*FLAT, "phone"})


class ReplayError(FirstHourError):
    """The replay cannot go on; says why, and the remedy."""


class InputError(ReplayError):
    """What was given cannot be read: `file:line: what, and what would be right`."""


@dataclass(frozen=True)
class Columns:
    """Which column holds what. None: there is none, and the row's number, or a made-up address, stands in."""

    id: int | None
    email: int | None
    time: int | None
    fields: Mapping[str, int]  # our name of a field: its column
    count: int

    def said(self, header: Sequence[str]) -> str:
        """What was made of the header, in a line for people."""
        who = f"email from `{header[self.email]}`" if self.email is not None else f"no email: <id>@{STAND_IN} stands in"
        which = f"id from `{header[self.id]}`" if self.id is not None else "no id: the row's number stands in"
        used = {self.id, self.email, self.time, *self.fields.values()}
        left = [name for index, name in enumerate(header) if index not in used]
        return "; ".join(
            [
                which,
                who,
                *([f"also sent: {', '.join(sorted(self.fields))}"] if self.fields else []),
                *([f"left out: {', '.join(left)} (--map FIELD=COLUMN sends one)"] if left else []),
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
    """A row that cannot be posted, or was refused."""

    line: int
    why: str


@dataclass(frozen=True)
class Wanted:
    """What the command line says of the columns; None: guess."""

    id: str | None = None
    email: str | None = None
    time: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    form: str = "demo-request"
    keep_times: bool = False


def columns_of(header: Sequence[str], wanted: Wanted) -> Columns:
    """The columns to read. Raises `InputError` for one that is wanted and not there."""
    plain = [_plain(name) for name in header]
    first = 0 if plain and (plain[0] == "id" or plain[0].endswith("_id")) else None
    return Columns(
        id=_named(header, wanted.id) if wanted.id else plain.index("id") if "id" in plain else first,
        email=_named(header, wanted.email) if wanted.email else _first(plain, EMAIL_NAMES),
        time=(_named(header, wanted.time) if wanted.time else _first(plain, TIME_NAMES)) if wanted.keep_times else None,
        fields={name: index for index, name in enumerate(plain) if name in FIELD_NAMES}
        | {name: _named(header, column) for name, column in wanted.fields.items()},
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
    wanted: Wanted = field(default_factory=Wanted)

    def __post_init__(self) -> None:
        """Raises `InputError` when there is no such file, or no header in it."""
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
            self.columns = columns_of(self.header, self.wanted)
        except InputError as error:
            raise InputError(f"{self.path}:1: {error}") from None
        if self.wanted.keep_times and self.columns.time is None:
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
                    yield BadRow(line, f"is not CSV: {error}")
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
        own = values[columns.id].strip() if columns.id is not None else str(number)
        if not own:
            return BadRow(line, "has no id; name another column with --id")
        before = ids.setdefault(own, line)
        if before != line:
            return BadRow(line, f"has the id of line {before}; name another column with --id")
        event: dict[str, Any] = {"id": f"{self.path.stem}:{own}", "type": TYPE}
        event["email"] = (
            values[columns.email].strip() if columns.email is not None else f"{_address(own)}@{STAND_IN}"
        ) or None
        if columns.time is not None:
            at = _moment(values[columns.time])
            if at is None:
                return BadRow(line, f"has no time in `{self.header[columns.time]}`; write 2026-12-01T09:00:00Z")
            event["time"] = at.isoformat()
        read = {name: values[index].strip() for name, index in columns.fields.items()}
        said = {name: value if name in FIELD_NAMES else _value(value) for name, value in read.items() if value}
        event["data"] = {"form": self.wanted.form} | said
        person = str(event["email"] or read.get("phone") or own).lower()
        return CsvRow(line, event["id"], person, json.dumps(event, ensure_ascii=False).encode())


def _address(own: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", own.lower()).strip("-") or "row"


def _value(written: str) -> str | int | float:
    """A field of the file's own: a plain number as one, so that rules can compare it; `007` stays a text."""
    if not _NUMBER.fullmatch(written):
        return written
    return float(written) if "." in written else int(written)


def _moment(written: str) -> datetime | None:
    """A time of the file; without an offset it counts as UTC."""
    try:
        found = datetime.fromisoformat(written.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
