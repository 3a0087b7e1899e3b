"""Sends the rows of a list in batches, each until it is answered, and notes the position after each."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from firsthour.operations.importing import position
from firsthour.operations.importing.columns import ListKind
from firsthour.operations.importing.csv_rows import CsvRecord
from firsthour.operations.importing.position import ImportPosition
from firsthour.operations.importing.rejected_rows import RejectedRows
from firsthour.operations.importing.row_events import RowEvents
from firsthour.runtime.clock import HostClock
from schemas.errors import FirstHourError

ROWS_MAX: Final = 200  # of a batch
VALUES_MAX: Final = 8_000  # of a batch: a body holds at most 10,000 JSON values
BYTES_MAX: Final = 200_000  # of a batch
SHOWN_MAX: Final = 20  # faulty rows that are reported; all of them are in the file of rejected rows
RATE_MAX: Final = 2_500.0
"""Rows a second. The services handle more, so that a lead that arrives meanwhile does not wait behind the list."""
PATIENCE_SECONDS: Final = 120.0
_BACKOFF_SECONDS: Final = (0.1, 5.0)

_clock = HostClock()
_encode = msgspec.json.Encoder().encode

Send = Callable[[bytes], Awaitable[dict[str, Any] | None]]
"""Sends a batch and returns the answer. None: there is no answer now, so the batch is sent again."""


class ImportStoppedError(FirstHourError):
    """Raised when an import cannot continue. The message has the cause and the remedy."""


@dataclass(frozen=True)
class RejectedRow:
    """A row that was not imported."""

    line: int
    why: str


@dataclass
class ImportResult:
    """The result of an import. `skipped`: rows that an earlier, stopped import has handled. `events`: new or repeated.

    `left_out`: leads of a company that its row did not change; `partial`: some of these rows.
    """

    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    events: int = 0
    left_out: int = 0
    shown: list[RejectedRow] = field(default_factory=list)
    partial: list[RejectedRow] = field(default_factory=list)
    file: Path | None = None  # of the rejected rows; None: there is none
    seconds: float = 0.0

    def reject(self, line: int, why: str) -> None:
        """Count a rejected row."""
        self.rejected += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(RejectedRow(line, why))

    def leave_out(self, line: int, leads: int, remedy: str) -> None:
        """Count the leads that a row of a company did not change."""
        self.left_out += leads
        if len(self.partial) < SHOWN_MAX:
            self.partial.append(RejectedRow(line, f"{leads:,} more leads of this company are unchanged: {remedy}"))


class ImportItem(NamedTuple):
    """A row, its events in JSON, and its fault. A faulty row has no events."""

    record: CsvRecord
    body: bytes
    fault: str


def batches_of(rows: Iterator[CsvRecord], maker: RowEvents) -> Iterator[list[ImportItem]]:
    """Yield the rows in batches that one request may hold."""
    batch: list[ImportItem] = []
    values = size = 0
    for record in rows:
        events, fault = maker.of(record)
        body = _encode(events) if events else b""
        if len(body) > BYTES_MAX:
            body, fault = b"", f"has more than {BYTES_MAX:,} bytes; shorten it"
        count = (len(record.cells) + 10) * len(events)
        if batch and (len(batch) >= ROWS_MAX or values + count > VALUES_MAX or size + len(body) > BYTES_MAX):
            yield batch
            batch, values, size = [], 0, 0
        batch.append(ImportItem(record, body, fault))
        values, size = values + count, size + len(body)
    if batch:
        yield batch


class ListImport:
    """One import. `rejected` and `file` None: a dry run, which stores nothing here either."""

    def __init__(
        self,
        send: Send,
        start: ImportPosition,
        *,
        kind: ListKind,
        file: Path | None,
        rejected: RejectedRows | None,
        rate: float = RATE_MAX,
    ) -> None:
        self._send = send
        self._kind = kind
        self._untold = 0  # rows that were refused here, of which the installation does not know yet
        self._position = start
        self._file = file
        self._rejected = rejected
        self._rate = rate
        self.result = ImportResult(start.accepted, start.rejected, start.rows, left_out=start.left_out)

    async def run(self, batches: Iterator[list[ImportItem]], advance: Callable[[int], None]) -> ImportResult:
        """Send all batches. `advance` is called with the line that is reached.

        Raises:
            ImportStoppedError: No batch was accepted for `PATIENCE_SECONDS`.
        """
        begin, handled = _clock.monotonic(), 0
        for batch in batches:
            await self._one(batch)
            handled += len(batch)
            advance(batch[-1][0].line)
            ahead = begin + handled / self._rate - _clock.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
        if self._untold:
            await self._ask([])
        self.result.seconds = _clock.monotonic() - begin
        return self.result

    async def _one(self, batch: Sequence[ImportItem]) -> None:
        bodies = [item.body for item in batch if item.body]
        self._untold += len(batch) - len(bodies)
        refused: dict[int, str] = {}
        if bodies:
            answer = await self._ask(bodies)
            self.result.events += answer["events"]
            refused = {row["row"]: row["error"] for row in answer["rejected"]}
            lines = [item.record.line for item in batch if item.body]
            for row in answer.get("left_out", ()):
                self.result.leave_out(lines[row["row"]], row["leads"], row["remedy"])
        answers = (refused.get(index, "") for index in range(len(bodies)))
        for record, body, fault in batch:
            self._note(record, next(answers) if body else fault)
        self._store(len(batch))

    async def _ask(self, bodies: Sequence[bytes]) -> dict[str, Any]:
        """Send rows, and the number of those that were refused here. Return the answer."""
        untold, self._untold = self._untold, 0
        ending = _encode({"kind": self._kind.value, "refused": untold})
        return await self._answer(b'{"rows":[' + b",".join(bodies) + b"]," + ending[1:])

    def _note(self, record: CsvRecord, fault: str) -> None:
        if not fault:
            self.result.accepted += 1
            return
        self.result.reject(record.line, fault)
        if self._rejected is not None:
            self._rejected.add(record.cells, fault)

    def _store(self, rows: int) -> None:
        if self._file is None or self._rejected is None:
            return
        done = self._position.rows + rows
        result, size = self.result, self._rejected.sync()
        self._position = replace(
            self._position,
            rows=done,
            accepted=result.accepted,
            rejected=result.rejected,
            left_out=result.left_out,
            rejected_file=self._rejected.path.name,
            rejected_bytes=size,
        )
        position.store(self._file, self._position)

    async def _answer(self, body: bytes) -> dict[str, Any]:
        start, wait = _clock.monotonic(), _BACKOFF_SECONDS[0]
        while True:
            answer = await self._send(body)
            if answer is not None:
                return answer
            if _clock.monotonic() - start > PATIENCE_SECONDS:
                raise ImportStoppedError(
                    f"nothing was accepted for {PATIENCE_SECONDS:g} s; run the same command again when the installation "
                    "answers: it continues after the last row that was accepted"
                )
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(_BACKOFF_SECONDS[1], wait * 2)
