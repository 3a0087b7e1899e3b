"""`firsthour doctor`: shows the faults of an installation, and the remedies."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from firsthour.cli import running_server
from firsthour.cli.running_server import CommandRefusedError, SilentError
from firsthour.operations.doctor import checks, distributed_checks
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
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port that `up` will listen on.")] = 8080,
    as_json: AsJson = False,
) -> None:
    """Show the faults of this installation, each with its remedy.

    Exit code 1 if there is a fault; warnings do not count.

    Example: firsthour doctor
    """
    process_settings = settings.load(data_dir=data, config_dir=config)
    with err().status("Checking disk, database, configuration and channels ..."):
        findings = run(lambda: _examine(process_settings, port))
    if as_json:
        print_json({"ok": checks.well(findings), "items": [asdict(finding) for finding in findings]})
    else:
        _print_findings(findings)
    if not checks.well(findings):
        raise typer.Exit(NO)


def _print_findings(findings: list[Finding]) -> None:
    console = out()
    for finding in findings:
        console.print(
            Text.assemble(Text(f"{finding.verdict:8}", _STYLES[finding.verdict]), f"{finding.what:15} {finding.said}"),
            soft_wrap=True,
        )
        if finding.remedy:
            say(f"{'':24}{finding.remedy}", console, "dim")


async def _examine(process_settings: Settings, port: int) -> list[Finding]:
    """Let the running process check itself, since its settings count. Without one, check from here."""
    serving = running_server.find(process_settings.data_dir)
    if serving is None:
        return [*await _from_here(process_settings), _port(port)]
    async with running_server.dial(serving) as line:
        state = await line.readiness()
        if state is None:
            fault = f"process {serving.pid} does not answer at {serving.url}"
            remedy = "read its log; stop it, and start it again"
            return [*await _from_here(process_settings), Finding("process", "wrong", fault, remedy)]
        ready = _ready(state)
        try:
            answer = await line.ask("POST", "/v1/doctor")
        except (CommandRefusedError, SilentError) as error:
            return [ready, Finding("doctor", "wrong", str(error), "read the log of the process")]
        return [ready, *(Finding(**item) for item in answer["items"])]


async def _from_here(process_settings: Settings) -> list[Finding]:
    if process_settings.distributed:
        return await distributed_checks.examine(process_settings, HostClock(), None)
    file = process_settings.data_dir / DATABASE
    if not file.exists():
        return await checks.examine(process_settings, HostClock(), None)
    reads = SqliteReader(reader_engine(file))
    with closing(reads):
        return await checks.examine(process_settings, HostClock(), reads)


def _port(port: int) -> Finding:
    try:
        listen("127.0.0.1", port).close()
    except PortTakenError as error:
        return Finding("process", "warning", f"not running, and {error}", "")
    return Finding("process", "ok", f"not running; port {port} is free")


def _ready(state: Answer) -> Finding:
    faults = [f"{name}: {result}" for name, result in state.get("checks", {}).items() if result != "ok"]
    if faults:
        return Finding("process", "wrong", "; ".join(faults), "read the log of the process, then start it again")
    warnings = "; ".join(state.get("warnings", ()))
    return Finding("process", "warning" if warnings else "ok", warnings or "running and ready")
