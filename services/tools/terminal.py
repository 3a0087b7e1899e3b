"""What every command shares: where it speaks, how it prints for people and for programs, and how it ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.runtime.yaml_places import printable

T = TypeVar("T")

DONE: Final = 0
NO: Final = 1
BAD_INPUT: Final = 2
WIDE: Final = 250

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Directory of the database. [default: FIRSTHOUR_DATA_DIR, else ./data]", show_default=False
    ),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Directory of agreement.yaml, team.yaml and sources.yaml. [default: FIRSTHOUR_CONFIG_DIR, else ./config]",
        show_default=False,
    ),
]


def out() -> Console:
    """Where results go. Where nobody looks at a screen, lines are as long as a table needs."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def err() -> Console:
    """Where it is told what is wrong."""
    return Console(stderr=True, highlight=False)


def say(line: str, console: Console | None = None, style: str = "") -> None:
    """One line as it is: never wrapped, no markup in it takes effect."""
    (console or out()).print(Text(line, style=style), soft_wrap=True)


def complain(lines: Iterable[str]) -> None:
    """What is wrong, a line each."""
    console = err()
    for line in lines:
        say(line, console)


def fail(code: int, *lines: str) -> NoReturn:
    """End the command with this exit code, having told why."""
    complain(lines)
    raise typer.Exit(code)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`."""

    async def whole() -> T:
        return await work()

    return asyncio.run(whole())


def print_json(result: Any) -> None:
    """The result for programs, on one line of standard output."""
    typer.echo(json.dumps(result, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows for people. Cells are text: no markup in them takes effect, and nothing a terminal would obey."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name == "id", overflow="fold")  # an id is there to be copied
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    out().print(table)


def cell(value: object) -> str:
    """A value in a table: nothing for None, moments to the minute."""
    if value is None:
        return ""
    text = str(value)
    if len(text) >= 20 and text[4:5] == "-" and text[10:11] == "T":
        try:
            return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"
        except ValueError:
            return printable(text)
    return printable(text)
