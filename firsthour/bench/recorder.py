"""Records the statements that a process of the distributed profile sends, unit by unit, for the bare loop to repeat.

A unit is a transaction that moves a cursor. Of the publisher's transactions only the texts are recorded: the bare loop
chooses the rows of each transaction anew.
"""

import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from firsthour.runtime.processing import cursors
from firsthour.runtime.storage.postgres_connections import DIALECT
from firsthour.runtime.storage.postgres_pipeline import PipelinedConnection

_BEGIN: Final = cursors.ADVANCE.for_one(DIALECT)
# The parameter in the group has the topics; the next ones have the partitions and the other columns.
_INSERT_LOG: Final = re.compile(r"INSERT INTO log .*? FROM unnest\(\$(\d+)::", re.DOTALL)
_COLUMNS: Final = 6
_TRANSACTION: Final = {"begin": "BEGIN", "commit": "COMMIT", "rollback": "ROLLBACK"}
_PUBLISHING: Final = {"take": "pg_try_advisory_xact_lock"}

Sent = tuple[str, tuple[Any, ...]]
Place = tuple[str, int]


class RecordedUnit(NamedTuple):
    """One unit: its new position in each place, its statements, and the places to which it emitted."""

    consumer: str
    to: dict[Place, int]
    sent: list[Sent]
    emits: set[Place]


class Recording(NamedTuple):
    """All units of a process, in the order of their commits, and the publisher's statements by name."""

    units: list[RecordedUnit]
    publishing: dict[str, str]


@contextmanager
def recording(file: Path) -> Iterator[None]:
    """Record the statements of the driver's connections of this process while the context is open."""
    with file.open("wb") as opened:
        recorder = _Recorder(opened)
        before = {name: getattr(PipelinedConnection, name) for name in ("execute", "fetch", *_TRANSACTION)}
        for name, method in before.items():
            setattr(PipelinedConnection, name, recorder.around(method, _TRANSACTION.get(name)))
        try:
            yield
        finally:
            for name, method in before.items():
                setattr(PipelinedConnection, name, method)
            pickle.dump(recorder.publishing, opened, pickle.HIGHEST_PROTOCOL)


def by_worker(units: Sequence[RecordedUnit]) -> list[list[RecordedUnit]]:
    """Return the units of each worker in their order. Units that share a place belong to one worker."""
    groups: list[set[Place]] = []
    for unit in units:
        apart = [group for group in groups if not group & unit.to.keys()]
        groups = [*apart, set(unit.to).union(*(group for group in groups if group & unit.to.keys()))]
    return [[unit for unit in units if group & unit.to.keys()] for group in groups]


def read_recording(file: Path) -> Recording:
    """Return the recording in a file."""
    units: list[RecordedUnit] = []
    with file.open("rb") as opened:
        while True:
            entry = pickle.load(opened)  # noqa: S301  # this program has written the file a moment ago
            if isinstance(entry, dict):
                return Recording(units, entry)
            units.append(entry)


def emitted_rows(sent: Sequence[Sent]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `log` that these statements append: topic, partition, key, event id, time, body."""
    for statement, parameters in sent:
        if match := _INSERT_LOG.search(statement):
            first = int(match[1]) - 1
            yield from zip(*parameters[first : first + _COLUMNS], strict=True)


class _Recorder:
    def __init__(self, file: Any) -> None:
        self._file = file
        self._open: dict[Any, list[Sent]] = {}  # statements of each open transaction, by connection
        self.publishing: dict[str, str] = {}

    def around(self, method: Callable[..., Any], bounds: str | None) -> Callable[..., Any]:
        """Return the driver's method, wrapped so that it records its arguments. `bounds`: the statement that it stands for."""

        def ended(connection: Any) -> Any:
            self._note(connection, bounds or "", ())
            return method(connection)

        def recorded(connection: Any, statement: str, *parameters: Any, **options: Any) -> Any:
            self._note(connection, statement, parameters)
            return method(connection, statement, *parameters, **options)

        return ended if bounds else recorded

    def _note(self, connection: Any, statement: str, parameters: tuple[Any, ...]) -> None:
        if statement == "BEGIN":
            self._open[connection] = []
        elif statement in {"COMMIT", "ROLLBACK"}:
            sent = self._open.pop(connection, [])
            if statement == "COMMIT":
                self._committed(sent)
        elif statement.startswith("DELETE") and statement.endswith("COMMIT"):  # the end of the publisher's round
            self._open.pop(connection, None)
        else:
            if connection in self._open:
                self._open[connection].append((statement, parameters))
            for name, part in _PUBLISHING.items():
                if part in statement and "router_" not in statement:
                    self.publishing[name] = statement

    def _committed(self, sent: list[Sent]) -> None:
        began = next((parameters for statement, parameters in sent if statement == _BEGIN.text), None)
        if began is None:
            return
        values = dict(zip(_BEGIN.order, began, strict=True))
        to = {
            (values["topic"], n): position for n, position in zip(values["partitions"], values["targets"], strict=True)
        }
        emits = {(topic, partition) for topic, partition, *_ in emitted_rows(sent)}
        pickle.dump(RecordedUnit(values["consumer"], to, sent, emits), self._file, pickle.HIGHEST_PROTOCOL)
