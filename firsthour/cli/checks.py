"""`firsthour verify` and `doctor`: whether an installation is sound."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from firsthour.cli import running_server
from firsthour.cli.client_protocol import Connect
from firsthour.cli.running_server import CommandRefusedError, SilentError
from firsthour.operations.doctor import checks
from firsthour.operations.doctor.checks import DATABASE, Finding
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.server import PortTakenError, listen
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.reader import SqliteReader
from firsthour.runtime.storage.sqlite import reader_engine
from firsthour.runtime.terminal import NO, AsJson, ConfigDir, DataDir, err, out, print_json, run, say

Answer = dict[str, Any]
_STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


def add(app: typer.Typer, connect: Connect) -> None:
    """These commands, over lines that `connect` gives."""

    @app.command()
    def verify(
        data: DataDir = None,
        every: Annotated[bool, typer.Option("--all", help="Name every row, not ten of each invariant.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Check the invariants I1 to I10 on one snapshot of the database; name the rows that break one.

        Exit code 1 when one is broken. On a live installation it waits, 30 s at most, until what was said is heard.

        Example: firsthour verify --all
        """

        async def ask() -> Answer:
            async with connect(data) as line:
                return await line.ask("POST", "/v1/verify?all=true" if every else "/v1/verify")

        with err().status("Checking every lead, assignment, page and decision ..."):
            found = run(ask)
        if as_json:
            print_json(found)
        else:
            _tell_invariants(found)
        if not found["ok"]:
            raise typer.Exit(NO)

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


def _tell_invariants(found: Answer) -> None:
    console = out()
    for one in found["items"]:
        mark = Text("holds ", "green") if one["ok"] else Text("BROKEN", "bold red")
        count = "" if one["ok"] else f" ({one['broken']} rows)"
        console.print(Text.assemble(f"{one['invariant']:4}", mark, f"  {one['holds']}{count}"), soft_wrap=True)
        for row in one["rows"]:
            say(f"          {row}", console)
        if more := one["broken"] - len(one["rows"]):
            say(f"          and {more} more: firsthour verify --all", console, "dim")
    for one in found["unread"]:
        say(f"not judged yet: {one['records']} records of {one['topic']} that {one['consumer']} has to read", console)
    if found["left_out"]:
        say(
            f"{found['left_out']} of {found['judged'] + found['left_out']} leads were not judged: they have records on "
            "their way or among the dead letters, or changed meanwhile",
            console,
        )
    for line in found["behind"]:
        say(f"behind: {line}; see the log and /readyz", console, "yellow")


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
