"""`firsthour doctor`: the faults of an installation, and the remedies."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from firsthour.cli import running_server
from firsthour.cli.running_server import CommandRefusedError, SilentError
from firsthour.operations.doctor import checks
from firsthour.operations.doctor.checks import DATABASE, Finding
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.errors import NO
from firsthour.runtime.http.server import PortTakenError, listen
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.reader import SqliteReader
from firsthour.runtime.storage.sqlite_engines import reader_engine
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, err, out, print_json, run, say

Answer = dict[str, Any]
_STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("doctor")
def run_doctor(
    data: DataDir = None,
    config: ConfigDir = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port `up` would listen on.")] = 8080,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this installation, and the remedy. Exit code 1 when something is.

    Example: firsthour doctor
    """
    known = settings.load(data_dir=data, config_dir=config)
    with err().status("Looking at disk, database, configuration and channels ..."):
        found = run(lambda: _examine(known, port))
    if as_json:
        print_json({"ok": checks.well(found), "items": [asdict(one) for one in found]})
    else:
        _tell_found(found)
    if not checks.well(found):
        raise typer.Exit(NO)


def _tell_found(found: list[Finding]) -> None:
    console = out()
    for one in found:
        console.print(
            Text.assemble(Text(f"{one.verdict:8}", _STYLES[one.verdict]), f"{one.what:15} {one.said}"), soft_wrap=True
        )
        if one.remedy:
            say(f"{'':24}{one.remedy}", console, "dim")


async def _examine(known: Settings, port: int) -> list[Finding]:
    """What the process that serves sees, where there is one: its settings count, not those of this shell."""
    serving = running_server.find(known.data_dir)
    if serving is None:
        return [*await _from_here(known), _port(port)]
    async with running_server.dial(serving) as line:
        state = await line.readiness()
        if state is None:
            what = f"process {serving.pid} does not answer at {serving.url}"
            remedy = "look at its log; end it, and start it again"
            return [*await _from_here(known), Finding("process", "wrong", what, remedy)]
        ready = _ready(state)
        try:
            answer = await line.ask("POST", "/v1/doctor")
        except (CommandRefusedError, SilentError) as refused:
            return [ready, Finding("doctor", "wrong", str(refused), "look at the log of the process")]
        return [ready, *(Finding(**one) for one in answer["items"])]


async def _from_here(known: Settings) -> list[Finding]:
    file = known.data_dir / DATABASE
    if not file.exists():
        return await checks.examine(known, HostClock(), None)
    reads = SqliteReader(reader_engine(file))
    with closing(reads):
        return await checks.examine(known, HostClock(), reads)


def _port(port: int) -> Finding:
    try:
        listen("127.0.0.1", port).close()
    except PortTakenError as taken:
        return Finding("process", "warning", f"not running, and {taken}", "")
    return Finding("process", "ok", f"not running; port {port} is free")


def _ready(state: Answer) -> Finding:
    wrong = [f"{name}: {said}" for name, said in state.get("checks", {}).items() if said != "ok"]
    if wrong:
        return Finding("process", "wrong", "; ".join(wrong), "look at the log of the process, then start it again")
    warnings = "; ".join(state.get("warnings", ()))
    return Finding("process", "warning" if warnings else "ok", warnings or "serves, and is ready")
