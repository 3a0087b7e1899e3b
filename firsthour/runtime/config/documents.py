"""Configuration files as read: their values, the positions of the values, and the names that they define."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from firsthour.kernel.printable import printable
from schemas.agreement.lifecycle import STATUSES
from schemas.agreement.response import Response
from schemas.values import Loc


@dataclass(frozen=True, order=True)
class ConfigProblem:
    """A mistake in a file, its position and its remedy. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    mistake: str
    remedy: str

    def __str__(self) -> str:
        return printable(f"{self.file}:{self.line}:{self.column}: {self.mistake}; {self.remedy}")


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """The position of a value, of its keys, and of the values inside it."""

    line: int = 1
    column: int = 1
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    inside: dict[str | int, "SourcePosition"] = field(default_factory=dict)

    def find(self, loc: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        """Return line and column of the value at `loc`, or of its key.

        Steps that the file does not have are skipped. They are names of alternatives, or missing fields, whose position is
        that of their mapping.
        """
        here, of_key = self, (self.line, self.column)
        for step in loc:
            if step in here.inside:
                below = here.inside[step]
                of_key = here.keys.get(str(step), (below.line, below.column))
                here = below
        return of_key if key or (bool(loc) and loc[-1] == "[key]") else (here.line, here.column)


@dataclass(frozen=True)
class Document:
    """A file as read. `data`: None if the file could not be read."""

    file: str
    data: dict[str, Any] | None
    place: SourcePosition
    problems: tuple[ConfigProblem, ...]

    def problem(self, loc: Sequence[str | int], mistake: str, remedy: str, *, key: bool = False) -> ConfigProblem:
        """Return a problem at `loc` of this file."""
        line, column = self.place.find(loc, key=key)
        return ConfigProblem(self.file, line, column, mistake, remedy)


@dataclass(frozen=True)
class ConfigDocuments:
    """The three files as read. If a file could not be read, the names that it defines are not checked."""

    agreement: Document
    team: Document
    sources: Document


def at(data: object, *path: str | int) -> Any:
    """Return the value at `path`, or None if the file does not have it."""
    for step in path:
        if isinstance(data, Mapping) and isinstance(step, str):
            data = data.get(step)
        elif isinstance(data, Sequence) and isinstance(step, int) and not isinstance(data, str):
            data = data[step]
        else:
            return None
    return data


def rows(document: Document, *path: str | int) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    """Yield the mappings of the list at `path`, each with its location."""
    items = at(document.data, *path)
    for index, row in enumerate(items if isinstance(items, list) else ()):
        if isinstance(row, Mapping):
            yield (*path, index), row


def names(value: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield the words at `loc`: one word, or a list of words."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, list):
        yield from (((*loc, index), word) for index, word in enumerate(value) if isinstance(word, str))


def defined(document: Document, *path: str, by: str = "id") -> list[str]:
    """Return the names that the rows at `path` define."""
    return [row[by] for _, row in rows(document, *path) if isinstance(row.get(by), str)]


def statuses(agreement: Document) -> list[str]:
    """Return the names of the statuses."""
    own = at(agreement.data, "lifecycle", "statuses")
    return list(own if isinstance(own, Mapping) else STATUSES)


def grades(agreement: Document) -> list[str]:
    """Return the names of the grades, the best first."""
    own = at(agreement.data, "scoring", "grades")
    return [*(own if isinstance(own, Mapping) else "ABC"), "D"]


def urgencies(agreement: Document) -> list[str]:
    """Return the urgencies in `response`, the most urgent first."""
    response = at(agreement.data, "response")
    return [name for name in response if name not in Response.model_fields] if isinstance(response, Mapping) else []
