"""Text from outside takes no effect on the terminal it is printed on."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from firsthour.runtime import terminal
from firsthour.runtime.terminal import PrintableConsole

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\x7f\r"


def commands(printed: str) -> list[str]:
    """What a terminal would obey."""
    return [c for c in printed if not c.isprintable() and c != "\n"]


def test_a_line_a_table_and_markup_of_rich_print_escapes_as_text() -> None:
    shown = io.StringIO()
    console = PrintableConsole(file=shown, width=200, highlight=False)
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(Text(EVIL))
    terminal.say(EVIL, console)
    console.print(table)
    console.print(Text.assemble(EVIL, ("b", "bold")), soft_wrap=True)
    assert commands(shown.getvalue()) == []
    assert shown.getvalue().count("\\x1b]0;owned") >= 4


def test_styles_of_our_own_still_reach_the_terminal() -> None:
    shown = io.StringIO()
    PrintableConsole(file=shown, force_terminal=True, color_system="standard").print(Text("a\x1b[2Jb", "red"))
    assert shown.getvalue() == "\x1b[31ma\\x1b[2Jb\x1b[0m\n"


def test_json_escapes_them_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"name": f"Zoë {EVIL}"})
    printed = capsys.readouterr().out
    assert commands(printed) == []
    assert "Zoë" in printed
    assert json.loads(printed) == {"name": f"Zoë {EVIL}"}


_PRINTS = "from firsthour.runtime.terminal import print_raw; print_raw({!r})"


def test_what_was_received_goes_raw_into_a_file_and_readable_to_a_terminal() -> None:
    body = EVIL.encode() + b"\xff\nsecond line"
    command = [sys.executable, "-c", _PRINTS.format(body)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == body + b"\n"
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm"}) as printing:
        os.close(theirs)
        printing.wait(30)
    shown = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    assert commands(shown) == []
    assert "\\x1b]0;owned" in shown
    assert "\\xff\nsecond line" in shown
