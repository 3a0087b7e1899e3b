"""From the log to an owner, against a bare loop that writes the same rows in as many transactions.

The statements that the product sends to SQLite are recorded once, transaction by transaction. The bare loop repeats them on
a copy of the same file, with plain `sqlite3` and the same pragmas. So rows, bytes, commits, fsyncs and batch sizes are the
same, and the remaining difference is the cost of our own code.
"""

import asyncio
import pickle
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from firsthour.bench.fixtures import events, furnish
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.systems import caught_up, cpu_seconds, open_embedded, run
from firsthour.runtime.clock import HostClock

ROUNDS: Final = 5
EVENTS: Final = 20_000
SUSTAINED_EVENTS: Final = 600_000
READERS: Final = 4_000
SERVICES: Final = ("scoring", "router")
CHUNK: Final = 1_000
GOAL: Final = 0.60
FILE: Final = "firsthour.db"
PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-65536",
    "wal_autocheckpoint=4000",
)

Sent = tuple[str, Any, bool]
"""A statement, its parameters, and whether these are several rows."""


class PipelineTimes(NamedTuple):
    """Seconds of one round."""

    wall: float
    cpu: float


def ratio(home: Path) -> list[BenchLine]:
    """Return the speed of the product as a share of the bare loop's, in several alternating rounds."""
    work = PipelineBench(home, EVENTS)
    work.prepare()
    real, writes, whole = [], [], []
    for _ in range(ROUNDS):
        writes.append(work.bare(reads=False))
        real.append(work.real())
        whole.append(work.bare(reads=True))
    rows = work.assigned_share()
    ratios = [bare.wall / ours.wall for bare, ours in zip(writes, real, strict=True)]
    with_reads = [bare.wall / ours.wall for bare, ours in zip(whole, real, strict=True)]
    size = f"{EVENTS:,} events, {rows:.0%} assigned, {work.units} units"
    return [
        line(
            "log to owner, of the bare loop that reads and writes the same",
            with_reads,
            "ratio",
            goal=GOAL,
            better="higher",
            note=size,
        ),
        line("log to owner, of the bare loop that only writes the same", ratios, "ratio"),
        line(
            "log to owner, of the CPU of the bare loop that reads and writes the same",
            [bare.cpu / ours.cpu for bare, ours in zip(whole, real, strict=True)],
            "ratio",
        ),
        line("log to owner", [EVENTS / ours.wall for ours in real], "events/s"),
        line("log to owner, CPU", [ours.cpu / EVENTS * 1e6 for ours in real], "us/event"),
        line("bare loop, CPU", [bare.cpu / EVENTS * 1e6 for bare in whole], "us/event"),
    ]


def sustained(home: Path) -> list[BenchLine]:
    """Return the same ratio over one long round."""
    work = PipelineBench(home, SUSTAINED_EVENTS)
    work.prepare()
    ours, bare = work.real(), work.bare(reads=True)
    note = f"{SUSTAINED_EVENTS:,} events in {ours.wall:.0f} s"
    return [
        line(
            "sustained, log to owner, of the bare loop",
            [bare.wall / ours.wall],
            "ratio",
            goal=GOAL,
            better="higher",
            note=note,
        ),
        line("sustained, log to owner", [SUSTAINED_EVENTS / ours.wall], "events/s"),
    ]


class PipelineBench:
    """A filled log, handled by the product or by the bare loop."""

    def __init__(self, home: Path, count: int) -> None:
        self._home, self._count = home, count
        self._filled, self._work = home / "filled", home / "work"
        self.record = home / "record"
        self.units = 0

    def prepare(self) -> None:
        """Fill the log, and record the statements of the product while it handles the log once."""
        furnish(self._filled)
        run(self._fill())
        with self.record.open("wb") as file, record_units(file) as recorder:
            self.real()
        self.units = recorder.units

    def real(self) -> PipelineTimes:
        """Run the product on a fresh copy."""
        self._copy()
        return run(self._handle_log())

    def bare(self, *, reads: bool) -> PipelineTimes:
        """Repeat the recorded statements on a fresh copy. Loading them is not timed."""
        self._copy()
        connection = sqlite3.connect(self._work / FILE, isolation_level=None)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        wall = cpu = 0.0
        clock = HostClock()
        for unit in recorded_units(self.record):
            sent = [one for one in unit if reads or not _only_reads(one[0])]
            start, start_cpu = clock.monotonic(), cpu_seconds()
            _replay(connection, sent)
            wall, cpu = wall + clock.monotonic() - start, cpu + cpu_seconds() - start_cpu
        connection.close()
        return PipelineTimes(wall, cpu)

    def assigned_share(self) -> float:
        """Return the assignments per event after a round."""
        with sqlite3.connect(self._work / FILE) as connection:
            return int(connection.execute("SELECT count(*) FROM router_assignments").fetchone()[0]) / self._count

    def _copy(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._filled, self._work)

    async def _fill(self) -> None:
        system = await open_embedded(self._filled, only=())
        now = HostClock().real()
        for first in range(0, self._count, CHUNK):
            await system.units.append(list(events(CHUNK, now, readers=READERS, first=first)))
        await system.close()
        with sqlite3.connect(self._filled / FILE) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _handle_log(self) -> PipelineTimes:
        system = await open_embedded(self._work, only=SERVICES)
        clock = HostClock()
        start, start_cpu = clock.monotonic(), cpu_seconds()
        running = asyncio.create_task(system.run())
        await caught_up(system)
        times = PipelineTimes(clock.monotonic() - start, cpu_seconds() - start_cpu)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await system.close()
        return times


# --- recording and replaying ----------------------------------------------------------------------------------------


class Recorder:
    """Writes every committed unit of the writer thread that changed something to a file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._unit: list[Sent] = []
        self.units = 0

    def sent(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if threading.current_thread().name == "writer" and not statement.startswith("BEGIN"):
            self._unit.append((statement, parameters, many))

    def begun(self, connection: Any) -> None:
        if threading.current_thread().name == "writer":
            self._unit = []

    def committed(self, connection: Any) -> None:
        if threading.current_thread().name == "writer" and not all(_only_reads(sent[0]) for sent in self._unit):
            pickle.dump(self._unit, self._file, pickle.HIGHEST_PROTOCOL)
            self.units += 1


@contextmanager
def record_units(file: Any) -> Iterator[Recorder]:
    """Record the statements of the writer threads of this process while the context is open."""
    recorder = Recorder(file)
    hooks: dict[str, Callable[..., None]] = {
        "before_cursor_execute": recorder.sent,
        "begin": recorder.begun,
        "commit": recorder.committed,
    }
    for name, hook in hooks.items():
        sa.event.listen(sa.Engine, name, hook)
    yield recorder
    for name, hook in hooks.items():
        sa.event.remove(sa.Engine, name, hook)


def recorded_units(record: Path) -> Iterator[list[Sent]]:
    """Yield the recorded transactions in their order."""
    with record.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)  # noqa: S301  # this program has written the file a moment ago
            except EOFError:
                return


def _only_reads(statement: str) -> bool:
    return statement.startswith(("SELECT", "BEGIN", "WITH"))


def _replay(connection: sqlite3.Connection, sent: list[Sent]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement, parameters, many in sent:
        if many:
            connection.executemany(statement, parameters)
        else:
            connection.execute(statement, parameters).fetchall()
    connection.execute("COMMIT")
