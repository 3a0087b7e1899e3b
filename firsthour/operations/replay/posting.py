"""Posts the rows of a CSV file as submitted forms, in the order of the file, each until it is acknowledged."""

import asyncio
import json
import random
from asyncio import Task
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TextIO

from firsthour.operations.replay.rows import BadRow, CsvRow, ReplayError
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.client import AsyncClient, HTTPError, Response

BACKOFF_SECONDS = (0.05, 1.0)  # first, longest
RETRY_AFTER_SECONDS_MAX = 30.0
SERVER_ERRORS_MAX = 5  # answers 500 to one row, before the row is given up
TRY_LATER = frozenset({408, 425, 429, 502, 503, 504})
REFUSED = frozenset({401, 403, 404, 405})  # the key or the address is wrong: every other row would be refused too

_clock = HostClock()


@dataclass
class ReplayResult:
    """The result of a replay."""

    rows: int = 0
    accepted: int = 0
    resent: int = 0  # requests without an answer, or with one that asks to try later
    bad: list[BadRow] = field(default_factory=list)
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)  # leads of the whole installation, afterwards
    leads: dict[str, int] = field(default_factory=dict)  # all, owned, queued, marketing
    verify: str | None = None  # None: the key may not verify


class Poster:
    """Posts rows in order, at most `window` at once, and repeats each until it is answered."""

    def __init__(
        self, client: AsyncClient, result: ReplayResult, *, window: int, patience_seconds: float, log: TextIO | None
    ) -> None:
        self._client = client
        self._result = result
        self._window = asyncio.Semaphore(window)
        self._patience_seconds = patience_seconds
        self._log = log
        self._last_answer = _clock.monotonic()

    async def post(self, rows: Iterable[CsvRow | BadRow], advance: Callable[[], None]) -> None:
        """Post all rows. `advance` is called after each.

        Raises:
            ReplayError: No answer has come for `patience_seconds`, or the key is refused.
        """
        last_of_person: dict[str, Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for row in rows:
                    self._result.rows += 1
                    if isinstance(row, BadRow):
                        self._result.bad.append(row)
                        advance()
                        continue
                    await self._window.acquire()
                    task = group.create_task(self._post_row(row, last_of_person.get(row.person)))
                    last_of_person[row.person] = task
                    task.add_done_callback(partial(self._finish, last_of_person, row.person, advance))
        except BaseExceptionGroup as group_error:
            raise _first_of(group_error) from None

    def _finish(
        self, last_of_person: dict[str, Task[None]], person: str, advance: Callable[[], None], task: Task[None]
    ) -> None:
        self._window.release()
        advance()
        if last_of_person.get(person) is task:
            del last_of_person[person]

    async def _post_row(self, row: CsvRow, earlier: Task[None] | None) -> None:
        """Post a row after the earlier one of the same person."""
        if earlier is not None:
            await asyncio.wait([earlier])
        server_errors, wait = 0, BACKOFF_SECONDS[0]
        while True:
            answer = await self._send(row)
            if answer is not None and answer.status_code not in TRY_LATER:
                server_errors += answer.status_code >= 500
                if answer.status_code < 500 or server_errors >= SERVER_ERRORS_MAX:
                    return self._store_answer(row, answer)
            self._result.resent += 1
            if _clock.monotonic() - self._last_answer > self._patience_seconds:
                raise ReplayError(
                    f"{self._client.base_url}: accepted nothing for {self._patience_seconds:g} s; run the same command "
                    "again when it answers: accepted rows take effect once"
                )
            retry_after = _retry_after(answer) if answer is not None else 0.0
            await asyncio.sleep(retry_after or wait * random.uniform(0.5, 1.0))
            wait = min(BACKOFF_SECONDS[1], wait * 2)

    def _store_answer(self, row: CsvRow, answer: Response) -> None:
        if answer.status_code in REFUSED:
            raise ReplayError(f"{answer.url}: {answer_text(answer)}")
        self._last_answer = _clock.monotonic()
        if answer.status_code == 202:
            self._store_accepted(row)
        else:
            self._result.bad.append(BadRow(row.line, answer_text(answer)))

    async def _send(self, row: CsvRow) -> Response | None:
        """Return the answer; None: there was none, and the row may or may not be stored."""
        try:
            return await self._client.post("/v1/events", content=row.body)
        except (HTTPError, OSError):
            return None

    def _store_accepted(self, row: CsvRow) -> None:
        self._result.accepted += 1
        if self._log is not None:
            line = {"id": row.id, "line": row.line, "at": _clock.real().isoformat()}
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _retry_after(answer: Response) -> float:
    """Return the seconds in `Retry-After`; 0 without one."""
    try:
        return min(RETRY_AFTER_SECONDS_MAX, max(0.0, float(answer.headers.get("retry-after", ""))))
    except ValueError:
        return 0.0


def answer_text(answer: Response) -> str:
    """Return the status, title and detail of a problem response."""
    try:
        problem = answer.json()
        return f"{answer.status_code} {problem['title']}: {problem.get('detail', '')}".rstrip(": ")
    except (ValueError, KeyError, TypeError):
        return f"answered {answer.status_code}"
