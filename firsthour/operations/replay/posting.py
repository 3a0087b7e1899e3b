"""Posts the rows of a CSV file as submitted forms, in the file's order, until each is acknowledged: `make replay`.

Every row has an id of its own, from a column or its number, so a file replayed again, or gone on with after a crash on
either side, changes nothing. Without `--url` a throwaway installation is started, fed, verified and removed.
"""

import argparse
import asyncio
import json
import random
import sys
from asyncio import Task
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from firsthour.operations.replay.rows import BadRow, CsvRow, InputError, ReplayError, Source, Wanted
from firsthour.operations.replay.temporary_server import NotStartedError, throwaway
from firsthour.runtime import package_files
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.client import AsyncClient, HTTPError, Response
from firsthour.runtime.http.errors import exit_code_of
from firsthour.runtime.terminal import err

ROWS_SAID_MAX = 20
REQUEST_SECONDS = 15.0
VERIFY_SECONDS = 120.0
BACKOFF_SECONDS = (0.05, 1.0)  # first, longest
RETRY_AFTER_SECONDS_MAX = 30.0
CLEAN = "clean"
FAILURES_MAX = 5  # of one row: answers 500, which waiting may not cure
LATER = frozenset({408, 425, 429, 502, 503, 504})
OURS = frozenset({401, 403, 404, 405})  # no row's fault: no other would be taken either

_clock = HostClock()


# --- posting ------------------------------------------------------------------------------------------------------


@dataclass
class ReplayResult:
    """What became of a file."""

    rows: int = 0
    accepted: int = 0
    resent: int = 0  # requests that had no answer, or one that said later
    bad: list[BadRow] = field(default_factory=list)
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)  # of the whole installation, afterwards
    leads: dict[str, int] = field(default_factory=dict)  # all, owned, queued, marketing
    verify: str | None = None  # None: not asked


class Poster:
    """Posts rows in order, at most `window` of them in flight, and each again until it is answered."""

    def __init__(
        self, client: AsyncClient, result: ReplayResult, *, window: int, patience_seconds: float, log: TextIO | None
    ) -> None:
        self._client = client
        self._result = result
        self._window = asyncio.Semaphore(window)
        self._patience_seconds = patience_seconds
        self._log = log
        self._heard = _clock.monotonic()  # when there last was an answer

    async def post(self, rows: Iterable[CsvRow | BadRow], progress: "Bar") -> None:
        """Post them all. Raises `ReplayError` when nobody has answered for too long, or the key is refused."""
        before: dict[str, Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for row in rows:
                    self._result.rows += 1
                    if isinstance(row, BadRow):
                        self._result.bad.append(row)
                        progress.advance()
                        continue
                    await self._window.acquire()
                    task = group.create_task(self._in_turn(row, before.get(row.person)))
                    before[row.person] = task
                    task.add_done_callback(partial(self._left, before, row.person, progress))
        except BaseExceptionGroup as several:
            raise _first_of(several) from None

    def _left(self, before: dict[str, Task[None]], person: str, progress: "Bar", task: Task[None]) -> None:
        self._window.release()
        progress.advance()
        if before.get(person) is task:
            del before[person]

    async def _in_turn(self, row: CsvRow, earlier: Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        failures, wait = 0, BACKOFF_SECONDS[0]
        while True:
            answer = await self._ask(row)
            if answer is not None and answer.status_code not in LATER:
                failures += answer.status_code >= 500
                if answer.status_code < 500 or failures >= FAILURES_MAX:
                    return self._answered(row, answer)
            self._result.resent += 1
            if _clock.monotonic() - self._heard > self._patience_seconds:
                raise ReplayError(
                    f"{self._client.base_url}: took nothing for {self._patience_seconds:g} s; run the same command "
                    "again when it is back: what was accepted takes effect once"
                )
            asked = _retry_after(answer) if answer is not None else 0.0
            await asyncio.sleep(asked or wait * random.uniform(0.5, 1.0))
            wait = min(BACKOFF_SECONDS[1], wait * 2)

    def _answered(self, row: CsvRow, answer: Response) -> None:
        if answer.status_code in OURS:
            raise ReplayError(f"{answer.url}: {_detail(answer)}")
        self._heard = _clock.monotonic()
        if answer.status_code == 202:
            self._accepted(row)
        else:
            self._result.bad.append(BadRow(row.line, _detail(answer)))

    async def _ask(self, row: CsvRow) -> Response | None:
        """None: no answer, and nobody knows whether it was kept."""
        try:
            return await self._client.post("/v1/events", content=row.body)
        except (HTTPError, OSError):
            return None

    def _accepted(self, row: CsvRow) -> None:
        self._result.accepted += 1
        if self._log is not None:
            said = {"id": row.id, "line": row.line, "at": _clock.real().isoformat()}
            self._log.write(json.dumps(said) + "\n")
            self._log.flush()


def _verdict(said: dict[str, Any]) -> str:
    if said["ok"]:
        return CLEAN
    broken = [
        f"{one['invariant']}: {one['broken']} ({', '.join(one['rows'])})" for one in said["items"] if not one["ok"]
    ]
    return "; ".join([*broken, *said["behind"]])


def _first_of(several: BaseExceptionGroup[BaseException]) -> BaseException:
    first = several.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _retry_after(answer: Response) -> float:
    """Seconds the other side asks us to wait."""
    try:
        return min(RETRY_AFTER_SECONDS_MAX, max(0.0, float(answer.headers.get("retry-after", ""))))
    except ValueError:
        return 0.0


def _detail(answer: Response) -> str:
    try:
        said = answer.json()
        return f"{answer.status_code} {said['title']}: {said.get('detail', '')}".rstrip(": ")
    except (ValueError, KeyError, TypeError):
        return f"answered {answer.status_code}"


# --- looking at what came of it -----------------------------------------------------------------------------------


async def look(client: AsyncClient, result: ReplayResult) -> None:
    """Verify first, which waits until everything was taken; then count. What this key may not see stays unknown."""
    answer = await client.post("/v1/verify", timeout=VERIFY_SECONDS)
    if answer.status_code == 200:
        result.verify = _verdict(answer.json())
    elif answer.status_code not in OURS:
        result.verify = _detail(answer)
    answer = await client.get("/v1/reports/statuses")
    if answer.status_code != 200:
        return
    items = answer.json()["items"]
    result.statuses = {one["status"]: one["leads"] for one in items if one["leads"]}
    marketing = sum(one["leads"] for one in items if one["team"] == "marketing")
    queued = result.statuses.get("qualified", 0)
    sales = sum(one["leads"] for one in items if one["team"] == "sales")
    result.leads = {
        "all": sum(one["leads"] for one in items),
        "owned": sales - queued,
        "queued": queued,
        "marketing": marketing,
    }


# --- the command --------------------------------------------------------------------------------------------------


class Bar:
    """A bar of rows on the terminal; nothing at all when nobody watches."""

    def __init__(self, console: Console, total: int) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn()
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self.progress.add_task("posting", total=total)

    def advance(self) -> None:
        self.progress.advance(self._task)


async def replay(source: Source, options: argparse.Namespace, console: Console) -> ReplayResult:
    """Post everything and look at what came of it. Raises `ReplayError`."""
    result = ReplayResult()
    async with AsyncExitStack() as stack:
        url, key = options.url, options.key
        if url is None:
            console.print("starting a throwaway installation ...")
            url, key = await stack.enter_async_context(throwaway(options.config or package_files.examples()))
        log = stack.enter_context(options.log.open("a", encoding="utf-8")) if options.log else None
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        client = AsyncClient(base_url=url, headers=headers, timeout=REQUEST_SECONDS, trust_env=options.url is not None)
        await stack.enter_async_context(client)
        bar = Bar(console, sum(1 for _ in source))
        poster = Poster(client, result, window=options.concurrency, patience_seconds=options.patience, log=log)
        start = _clock.monotonic()
        with bar.progress:
            await poster.post(source, bar)
        result.seconds = _clock.monotonic() - start
        try:
            await look(client, result)
        except HTTPError as error:
            raise ReplayError(f"{url}: everything is posted, and then: {type(error).__name__}") from None
    return result


def say(source: Source, result: ReplayResult, console: Console) -> None:
    """For people."""
    for one in result.bad[:ROWS_SAID_MAX]:
        console.print(f"{source.path}:{one.line}: {one.why}", markup=False, highlight=False, soft_wrap=True)
    if len(result.bad) > ROWS_SAID_MAX:
        console.print(f"... and {len(result.bad) - ROWS_SAID_MAX} more rows like these")
    table = Table(show_header=False, box=None)
    table.add_row("rows", f"{result.rows:,}")
    table.add_row("accepted", f"{result.accepted:,} in {result.seconds:.1f} s")
    table.add_row("not accepted", f"{len(result.bad):,}")
    if result.resent:
        table.add_row("sent again", f"{result.resent:,}")
    for name, count in result.leads.items():
        table.add_row("leads" if name == "all" else f"  {name}", f"{count:,}")
    console.print(table)
    verdict = result.verify or "not asked: this key may not"
    console.print(f" verify        {verdict}", markup=False, highlight=False, soft_wrap=True)


def _as_json(result: ReplayResult) -> str:
    return json.dumps(
        {
            "rows": result.rows,
            "accepted": result.accepted,
            "resent": result.resent,
            "bad": [{"line": one.line, "why": one.why} for one in result.bad],
            "leads": result.leads,
            "statuses": result.statuses,
            "verify": result.verify,
            "seconds": round(result.seconds, 3),
        }
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m firsthour.operations.replay.posting", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("file", type=Path, help="a CSV file with a header: comma, semicolon or tab, UTF-8")
    add("--url", help="of a running installation; without it a throwaway one is started")
    add("--serve", action="store_true", help="start a throwaway installation (what happens without --url)")
    add("--config", type=Path, help="configuration directory of the throwaway installation (the examples)")
    add("--key", help="an API key of the running installation; one of role admin also verifies")
    add("--form", default="demo-request", help="the form's name (%(default)s)")
    add("--keep-times", action="store_true", help="post with the times of the file instead of now")
    add("--email", metavar="COLUMN", help="the column of addresses (guessed)")
    add("--id", metavar="COLUMN", help="the column of ids (guessed)")
    add("--time", metavar="COLUMN", help="the column of times, for --keep-times (guessed)")
    add("--map", metavar="FIELD=COLUMN", action="append", default=[], help="one more field; may be repeated")
    add("--concurrency", type=int, default=8, metavar="N", help="requests in flight at most (%(default)s)")
    add(
        "--patience", type=float, default=120.0, metavar="SECONDS", help="without an answer, then give up (%(default)g)"
    )
    add("--log", type=Path, metavar="FILE.jsonl", help="append a line for each row as it is acknowledged")
    add("--json", action="store_true", help="say the result as JSON")
    options = parser.parse_args(arguments)
    if options.url is not None and not options.key:
        parser.error("--url needs --key; `firsthour keys create --role ingest --name replay` makes one")
    if options.url is not None and (options.serve or options.config):
        parser.error("--serve and --config are for a throwaway installation; leave out --url")
    if options.concurrency < 1:
        parser.error("--concurrency must be at least 1")
    return options


def _fields(pairs: Iterable[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise InputError(f"--map {pair}: write FIELD=COLUMN, such as company=Firm")
        found[name] = column
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0: everything accepted, and verify clean where it was asked; 1: not; 2: the file or the options are wrong."""
    options = _options(arguments)
    console = err()
    try:
        wanted = Wanted(options.id, options.email, options.time, _fields(options.map), options.form, options.keep_times)
        source = Source(options.file, wanted)
        console.print(source.columns.said(source.header), markup=False, highlight=False, soft_wrap=True)
        result = asyncio.run(replay(source, options, console))
    except ReplayError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return exit_code_of(error)
    except NotStartedError as error:
        console.print(f"the throwaway installation did not start:\n{error}", markup=False, highlight=False)
        return exit_code_of(error)
    except KeyboardInterrupt:
        console.print("stopped" + ("; the same command goes on from here" if options.url else ""))
        return 130
    say(source, result, console)
    if options.json:
        print(_as_json(result))
    return 0 if not result.bad and result.verify in (None, CLEAN) else 1


if __name__ == "__main__":
    sys.exit(main())
