"""`firsthour import`: imports a list of leads, companies, opportunities or costs from a CSV file."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from firsthour.cli import installation, running_server
from firsthour.cli.running_server import ANSWER_SECONDS, CommandRefusedError, ServerLine, SilentError
from firsthour.operations.importing import position
from firsthour.operations.importing.batches import RATE_MAX, ImportResult, ImportStoppedError, ListImport
from firsthour.operations.importing.columns import NOTHING, ListKind
from firsthour.operations.importing.plan import ImportPlan, plan_of
from firsthour.operations.importing.rejected_rows import RejectedRows, free_name
from firsthour.runtime import settings
from firsthour.runtime.http.client import AsyncClient
from firsthour.runtime.http.errors import NO
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, err, print_json, print_table, run, say

TRY_LATER: Final = frozenset({408, 425, 429, 502, 503, 504})
INTERRUPTED: Final = 130  # exit code after Ctrl-C, as shells have it

app = typer.Typer(add_completion=False, rich_markup_mode=None)

OpenLine = Callable[[], AbstractAsyncContextManager[ServerLine]]


class BatchSender:
    """Sends batches, over a new connection if the process that serves the installation was started again."""

    def __init__(self, path: str, first: OpenLine, again: OpenLine | None) -> None:
        self._path = path
        self._open: OpenLine | None = first
        self._again = again
        self._stack = AsyncExitStack()
        self._line: ServerLine | None = None
        self._answered = False

    async def __call__(self, body: bytes) -> dict[str, Any] | None:
        try:
            if self._line is None and self._open is not None:
                self._line = await self._stack.enter_async_context(self._open())
            if self._line is None:
                return None
            answer = await self._line.ask("POST", self._path, raw=body)
        except SilentError:
            await self._hang_up()
        except CommandRefusedError as refusal:
            if refusal.status == 401 and self._answered and self._again is not None:  # its token is new
                await self._hang_up()
            elif refusal.status not in TRY_LATER:
                raise ImportStoppedError(str(refusal)) from None
        else:
            self._answered = True
            return answer
        return None

    async def _hang_up(self) -> None:
        if self._again is not None:
            await self.close()
            self._line, self._open = None, self._again

    async def close(self) -> None:
        """Close the connection."""
        await self._stack.aclose()


@app.command("import")
def import_list(
    kind: Annotated[ListKind, typer.Argument(help="What the rows are.")],
    file: Annotated[Path, typer.Argument(help="CSV file with the names of the columns in its first line.")],
    source: Annotated[str, typer.Option(help="Name of the list, as the source of its events.")] = "import",
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Our field of a column; repeatable. Or a file of such lines.", metavar="FIELD=COLUMN"
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column of ids: a row that is in another file too counts once.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the file. [default: guessed]")] = None,
    separator: Annotated[str | None, typer.Option(help="One character, or `tab`. [default: guessed]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be imported. Nothing is stored.")] = False,
    rate: Annotated[float, typer.Option(min=1, help="Rows a second, at most.")] = RATE_MAX,
    url: Annotated[str | None, typer.Option(help="Address of an installation on another machine; needs --key.")] = None,
    key: Annotated[str | None, typer.Option(help="API key for --url, of role marketing or higher.")] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Import a list from a CSV file: leads, companies, opportunities or costs.

    After a stop, the same command continues after the last row that was accepted. A row takes effect once. Rows that are
    refused are written to `<FILE>.rejected.csv`, which can be corrected and imported.

    Example: firsthour import lead fair.csv --source fair-2026 --dry-run
    """
    if (url is None) != (key is None):
        raise typer.BadParameter("--url and --key go together", param_hint="--url")
    if separator is not None and len(separator := {"tab": "\t"}.get(separator, separator)) != 1:
        raise typer.BadParameter("write one character, or tab", param_hint="--separator")
    directory = settings.load(data_dir=data, config_dir=config).data_dir
    plan = plan_of(
        kind,
        file,
        source=source,
        maps=maps or (),
        id_column=id_column,
        encoding=encoding,
        separator=separator,
        target=url or str(directory.resolve()),
    )
    if not as_json:
        _print_plan(plan, columns=dry_run)
    path = f"/v1/import/{quote(source, safe='')}" + ("?dry_run=true" if dry_run else "")
    sender = BatchSender(path, _opener(url, key, data, config), None if url else lambda: _dial(directory))
    try:
        result = run(lambda: _import(plan, sender, rate, dry_run=dry_run))
    except KeyboardInterrupt:
        say("stopped" + ("" if dry_run else "; the same command continues after the last row that was accepted"), err())
        raise typer.Exit(INTERRUPTED) from None
    _print_result(plan, result, as_json=as_json, dry_run=dry_run)
    if result.rejected:
        raise typer.Exit(NO)


async def _import(plan: ImportPlan, sender: BatchSender, rate: float, *, dry_run: bool) -> ImportResult:
    path = plan.file.path
    start = position.ImportPosition(plan.digest) if dry_run else plan.start()
    rejected = None
    if not dry_run:
        name = start.rejected_file or free_name(path)
        rejected = RejectedRows(path.with_name(name), plan.file.header, plan.file.separator, start.rejected_bytes)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = err()
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task("importing", total=max(1, plan.file.lines))
    work = ListImport(sender, start, kind=plan.kind, file=None if dry_run else path, rejected=rejected, rate=rate)
    try:
        with progress:
            result = await work.run(plan.batches(start.rows), lambda line: progress.update(task, completed=line))
    finally:
        await sender.close()
        if rejected is not None:
            rejected.close()
    if not dry_run:
        position.remove(path)
        result.file = rejected.path if rejected is not None and result.rejected else None
    return result


def _opener(url: str | None, key: str | None, data: Path | None, config: Path | None) -> OpenLine:
    if url is None:
        return lambda: installation.connect(data, config, configured=True)

    @asynccontextmanager
    async def remote() -> Any:
        headers = {"authorization": f"Bearer {key}"}
        async with AsyncClient(base_url=url, headers=headers, timeout=ANSWER_SECONDS) as client:
            yield ServerLine(client)

    return remote


@asynccontextmanager
async def _dial(directory: Path) -> Any:
    """Connect to the process that serves the directory now. Raises `SilentError` if there is none."""
    serving = running_server.find(directory)
    if serving is None:
        raise SilentError("no process serves the directory")
    async with running_server.dial(serving) as line:
        yield line


def _print_plan(plan: ImportPlan, *, columns: bool) -> None:
    say(f"{plan.file.path}: {plan.file}")
    if columns:
        rows = (
            (one["column"], "left out" if one["becomes"] == NOTHING else one["becomes"], "id" if one["id"] else "")
            for one in plan.shown()
        )
        print_table(("column", "becomes", ""), rows)


def _print_result(plan: ImportPlan, result: ImportResult, *, as_json: bool, dry_run: bool) -> None:
    speed = (result.accepted + result.rejected) / result.seconds if result.seconds else 0.0
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "encoding": plan.file.encoding,
                "separator": plan.file.separator,
                "columns": [{"column": one["column"], "becomes": one["becomes"]} for one in plan.shown()],
                "accepted": result.accepted,
                "rejected": result.rejected,
                "skipped": result.skipped,
                "events": result.events,
                "left_out": result.left_out,
                "partial": [{"line": row.line, "why": row.why} for row in result.partial],
                "errors": [{"line": row.line, "error": row.why} for row in result.shown],
                "rejected_file": None if result.file is None else str(result.file),
                "seconds": round(result.seconds, 3),
            }
        )
        return
    for row in (*result.partial, *result.shown):
        say(f"{plan.file.path}:{row.line}: {row.why}", err())
    if result.rejected > len(result.shown):
        say(f"... and {result.rejected - len(result.shown):,} more rows that are refused", err())
    done = "would be accepted" if dry_run else "accepted"
    again = f"; {result.skipped:,} of these rows were handled before" if result.skipped else ""
    say(f"{result.accepted:,} rows {done}, {result.rejected:,} refused{again} ({speed:,.0f} rows a second)")
    if result.left_out:
        say(f"{result.left_out:,} leads of companies are unchanged: a row changes only the first of many.")
    if result.file is not None:
        say(f"The refused rows are in {result.file}: correct them, and import that file.")
