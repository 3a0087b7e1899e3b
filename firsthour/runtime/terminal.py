"""The terminal of every command: output for people and for programs, and exit codes."""

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from firsthour.kernel.printable import printable

T = TypeVar("T")

WIDE: Final = 250
PROGRAM: Final = "firsthour"

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data", help="Data directory. [default: FIRSTHOUR_DATA_DIR, else ./data]", show_default=False),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Directory of agreement.yaml, team.yaml and sources.yaml. [default: FIRSTHOUR_CONFIG_DIR, else ./config]",
        show_default=False,
    ),
]


class PrintableConsole(Console):
    """A console that prints control sequences as text: printed values may come from outside."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


def printable_lines(text: str) -> str:
    """Return the text with its line breaks, and with control and unprintable characters as escapes."""
    return "\n".join(printable(line) for line in text.split("\n"))


def out() -> Console:
    """Return the console for results. Off a terminal, lines are as long as a table needs."""
    console = PrintableConsole(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def err() -> Console:
    """Return the console for errors."""
    return PrintableConsole(stderr=True, highlight=False)


def say(line: str, console: Console | None = None, style: str = "") -> None:
    """Print one line unchanged: never wrapped, without markup or control sequences."""
    (console or out()).print(Text(printable_lines(line), style=style), soft_wrap=True)


def complain(lines: Iterable[str]) -> None:
    """Print lines to the console for errors."""
    console = err()
    for line in lines:
        say(line, console)


def program_name() -> str:
    """Return the command of this program: `firsthour`, or its path if it is not on the search path."""
    program = Path(sys.argv[0])
    on_path = shutil.which(PROGRAM)
    if program.name != PROGRAM or (on_path is not None and Path(on_path).resolve() == program.resolve()):
        return PROGRAM
    return str(program)


def fail(code: int, *lines: str) -> NoReturn:
    """Print the reasons, and end the command with this exit code."""
    complain(lines)
    raise typer.Exit(code)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`, and return its result."""

    async def main() -> T:
        return await work()

    return asyncio.run(main())


def print_json(result: Any) -> None:
    """Print the result on one line of standard output, for programs. Control characters are JSON escapes."""
    text = json.dumps(result, ensure_ascii=False, default=str)
    typer.echo(text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))


def print_raw(content: bytes) -> None:
    """Print the bytes unchanged; on a terminal as printable text."""
    if sys.stdout.isatty():
        say(content.decode(errors="backslashreplace"))
    else:
        sys.stdout.flush()
        typer.echo(content)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table, for people. Cells are text, without markup or control sequences."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name == "id", overflow="fold")  # an id must be easy to copy
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    out().print(table)


def cell(value: object) -> str:
    """Return the text of a value in a table: empty for None; times to the minute."""
    if value is None:
        return ""
    text = str(value)
    if len(text) >= 20 and text[4:5] == "-" and text[10:11] == "T":
        try:
            return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"
        except ValueError:
            return printable(text)
    return printable(text)
