"""What a process of the distributed profile sends to PostgreSQL, recorded unit by unit for a bare loop to repeat.

A unit is a transaction that moves a cursor. Of the publisher's transactions only the texts are kept: how many rows one of
them takes is decided anew when it is repeated.
"""

import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from firsthour.runtime.processing import cursors
from firsthour.runtime.storage.postgres_connections import DIALECT

_BEGIN: Final = cursors.ADVANCE.for_one(DIALECT)
_SAYS: Final = re.compile(
    r"INSERT INTO log .*? FROM unnest\(\$(\d+)::", re.DOTALL
)  # then topics, partitions and the rest
_COLUMNS: Final = 6
_PUBLISHING: Final = {"take": "pg_try_advisory_xact_lock"}

Sent = tuple[str, tuple[Any, ...]]
Place = tuple[str, int]


class RecordedUnit(NamedTuple):
    """One unit: how far it went in each place, what it sent, and the places to which it emitted."""

    consumer: str
    to: dict[Place, int]
    sent: list[Sent]
    says: set[Place]


class Recording(NamedTuple):
    """All units of a process, in the order of their commits, and the publisher's statements by name."""

    units: list[RecordedUnit]
    publishing: dict[str, str]


@contextmanager
def recording(file: Path) -> Iterator[None]:
    """Record what the driver's connections of this process send while the context is open."""
    with file.open("wb") as opened:
        recorder = _Recorder(opened)
        before = {name: getattr(asyncpg.Connection, name) for name in ("execute", "fetch")}
        for name, method in before.items():
            setattr(asyncpg.Connection, name, recorder.around(method))
        try:
            yield
        finally:
            for name, method in before.items():
                setattr(asyncpg.Connection, name, method)
            pickle.dump(recorder.publishing, opened, pickle.HIGHEST_PROTOCOL)


def hands(units: Sequence[RecordedUnit]) -> list[list[RecordedUnit]]:
    """Return the units of each worker in their order. Units that share a place belong to one worker."""
    groups: list[set[Place]] = []
    for unit in units:
        apart = [group for group in groups if not group & unit.to.keys()]
        groups = [*apart, set(unit.to).union(*(group for group in groups if group & unit.to.keys()))]
    return [[unit for unit in units if group & unit.to.keys()] for group in groups]


def recorded(file: Path) -> Recording:
    """Return the recording in a file."""
    units: list[RecordedUnit] = []
    with file.open("rb") as opened:
        while True:
            found = pickle.load(opened)  # noqa: S301  # written by ourselves a moment ago
            if isinstance(found, dict):
                return Recording(units, found)
            units.append(found)


def said(sent: Sequence[Sent]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `log` that these statements append: topic, partition, key, event id, time, body."""
    for statement, parameters in sent:
        if found := _SAYS.search(statement):
            first = int(found[1]) - 1
            yield from zip(*parameters[first : first + _COLUMNS], strict=True)


class _Recorder:
    def __init__(self, file: Any) -> None:
        self._file = file
        self._under_way: dict[Any, list[Sent]] = {}  # by connection, while it is in a transaction
        self.publishing: dict[str, str] = {}

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the driver's method, with a note of its arguments."""

        def noted(connection: Any, statement: str, *parameters: Any, **options: Any) -> Any:
            self._note(connection, statement, parameters)
            return method(connection, statement, *parameters, **options)

        return noted

    def _note(self, connection: Any, statement: str, parameters: tuple[Any, ...]) -> None:
        if statement == "BEGIN":
            self._under_way[connection] = []
        elif statement in {"COMMIT", "ROLLBACK"}:
            sent = self._under_way.pop(connection, [])
            if statement == "COMMIT":
                self._committed(sent)
        elif statement.startswith("DELETE") and statement.endswith("COMMIT"):  # the end of the publisher's round
            self._under_way.pop(connection, None)
        else:
            if connection in self._under_way:
                self._under_way[connection].append((statement, parameters))
            for name, part in _PUBLISHING.items():
                if part in statement and "router_" not in statement:
                    self.publishing[name] = statement

    def _committed(self, sent: list[Sent]) -> None:
        began = next((parameters for statement, parameters in sent if statement == _BEGIN.text), None)
        if began is None:
            return
        given = dict(zip(_BEGIN.order, began, strict=True))
        to = {(given["topic"], n): position for n, position in zip(given["partitions"], given["tos"], strict=True)}
        says = {(topic, partition) for topic, partition, *_ in said(sent)}
        pickle.dump(RecordedUnit(given["consumer"], to, sent, says), self._file, pickle.HIGHEST_PROTOCOL)
