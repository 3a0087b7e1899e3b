"""Control sequences in outside text have no effect on the terminal."""

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


def control_characters(printed: str) -> list[str]:
    """Return the control characters in the output."""
    return [c for c in printed if not c.isprintable() and c != "\n"]


def test_control_sequences_in_lines_tables_and_text_are_escaped() -> None:
    shown = io.StringIO()
    console = PrintableConsole(file=shown, width=200, highlight=False)
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(Text(EVIL))
    terminal.say(EVIL, console)
    console.print(table)
    console.print(Text.assemble(EVIL, ("b", "bold")), soft_wrap=True)
    assert control_characters(shown.getvalue()) == []
    assert shown.getvalue().count("\\x1b]0;owned") >= 4


def test_own_styles_are_sent_to_the_terminal() -> None:
    shown = io.StringIO()
    PrintableConsole(file=shown, force_terminal=True, color_system="standard").print(Text("a\x1b[2Jb", "red"))
    assert shown.getvalue() == "\x1b[31ma\\x1b[2Jb\x1b[0m\n"


def test_json_escapes_control_sequences_and_keeps_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"name": f"Zoë {EVIL}"})
    printed = capsys.readouterr().out
    assert control_characters(printed) == []
    assert "Zoë" in printed
    assert json.loads(printed) == {"name": f"Zoë {EVIL}"}


_PRINTS = "from firsthour.runtime.terminal import print_raw; print_raw({!r})"


def test_raw_bytes_go_unchanged_to_a_file_and_printable_to_a_terminal() -> None:
    body = EVIL.encode() + b"\xff\nsecond line"
    command = [sys.executable, "-c", _PRINTS.format(body)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == body + b"\n"
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm"}) as printing:
        os.close(theirs)
        printing.wait(30)
    shown = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    assert control_characters(shown) == []
    assert "\\x1b]0;owned" in shown
    assert "\\xff\nsecond line" in shown
