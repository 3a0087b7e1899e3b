"""`make replay`: posts the rows of a CSV file as submitted forms.

Every row has an id, from a column or from its number. So a file can be posted again, or continued after a crash of either
side, without a second effect. Without `--url` the command starts a temporary installation, and removes it afterwards.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from firsthour.operations.replay.outcome import CLEAN, add_outcome, outcome_json, print_outcome
from firsthour.operations.replay.posting import Poster, ReplayResult
from firsthour.operations.replay.rows import InputError, ReplayError, RowOptions, Source
from firsthour.operations.replay.temporary_server import NotStartedError, temporary_server
from firsthour.runtime import package_files
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.client import AsyncClient, HTTPError
from firsthour.runtime.http.errors import exit_code_of
from firsthour.runtime.terminal import err

REQUEST_SECONDS = 15.0
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it

_clock = HostClock()


class ProgressBar:
    """A bar of rows in a terminal; off a terminal it prints nothing."""

    def __init__(self, console: Console, total: int) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn()
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self.progress.add_task("posting", total=total)

    def advance(self) -> None:
        self.progress.advance(self._task)


async def replay(source: Source, options: argparse.Namespace, console: Console) -> ReplayResult:
    """Post all rows, and add the outcome. Raises `ReplayError`."""
    result = ReplayResult()
    async with AsyncExitStack() as stack:
        url, key = options.url, options.key
        if url is None:
            console.print("starting a temporary installation ...")
            url, key = await stack.enter_async_context(temporary_server(options.config or package_files.examples()))
        log = stack.enter_context(options.log.open("a", encoding="utf-8")) if options.log else None
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        client = AsyncClient(base_url=url, headers=headers, timeout=REQUEST_SECONDS, trust_env=options.url is not None)
        await stack.enter_async_context(client)
        bar = ProgressBar(console, sum(1 for _ in source))
        poster = Poster(client, result, window=options.concurrency, patience_seconds=options.patience, log=log)
        start = _clock.monotonic()
        with bar.progress:
            await poster.post(source, bar.advance)
        result.seconds = _clock.monotonic() - start
        try:
            await add_outcome(client, result)
        except HTTPError as error:
            raise ReplayError(f"{url}: every row is posted, but verify had no answer: {type(error).__name__}") from None
    return result


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m firsthour.operations.replay.command",
        description="Posts the rows of a CSV file as submitted forms, in order, each until it is acknowledged.",
    )
    add = parser.add_argument
    add("file", type=Path, help="CSV file with a header, in UTF-8; separated by comma, semicolon or tab")
    add("--url", help="address of a running installation; without it a temporary one is started")
    add("--serve", action="store_true", help="start a temporary installation (the default without --url)")
    add("--config", type=Path, help="configuration directory of the temporary installation (default: the examples)")
    add("--key", help="API key of the running installation; verify runs only with role admin")
    add("--form", default="demo-request", help="name of the form (default: %(default)s)")
    add("--keep-times", action="store_true", help="post with the times of the file instead of now")
    add("--email", metavar="COLUMN", help="column of email addresses (default: detected)")
    add("--id", metavar="COLUMN", help="column of ids (default: detected)")
    add("--time", metavar="COLUMN", help="column of times, for --keep-times (default: detected)")
    add("--map", metavar="FIELD=COLUMN", action="append", default=[], help="post a column as a field; repeatable")
    add("--concurrency", type=int, default=8, metavar="N", help="requests at once, at most (default: %(default)s)")
    add(
        "--patience",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="give up after this long without an answer (default: %(default)g)",
    )
    add("--log", type=Path, metavar="FILE.jsonl", help="append a line for each row when it is acknowledged")
    add("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    if options.url is not None and not options.key:
        parser.error("--url needs --key; `firsthour keys create --role ingest --name replay` makes one")
    if options.url is not None and (options.serve or options.config):
        parser.error("--serve and --config are for a temporary installation; leave out --url")
    if options.concurrency < 1:
        parser.error("--concurrency must be at least 1")
    return options


def _fields(pairs: Iterable[str]) -> dict[str, str]:
    fields = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise InputError(f"--map {pair}: is not FIELD=COLUMN; write for example company=Firm")
        fields[name] = column
    return fields


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every row is accepted and verify, if it ran, is clean; 1 if not; 2 for a wrong file or option."""
    options = _options(arguments)
    console = err()
    try:
        rows = RowOptions(
            options.id, options.email, options.time, _fields(options.map), options.form, options.keep_times
        )
        source = Source(options.file, rows)
        console.print(source.columns.summary(source.header), markup=False, highlight=False, soft_wrap=True)
        result = asyncio.run(replay(source, options, console))
    except ReplayError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return exit_code_of(error)
    except NotStartedError as error:
        console.print(f"the temporary installation did not start:\n{error}", markup=False, highlight=False)
        return exit_code_of(error)
    except KeyboardInterrupt:
        console.print("stopped" + ("; the same command continues from here" if options.url else ""))
        return INTERRUPTED
    print_outcome(source, result, console)
    if options.json:
        print(outcome_json(result))
    return 0 if not result.bad and result.verify in (None, CLEAN) else 1


if __name__ == "__main__":
    sys.exit(main())
