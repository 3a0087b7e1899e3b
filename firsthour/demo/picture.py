"""Draw the screen of a terminal as an SVG: `tmux capture-pane -e -p | python -m firsthour.demo.picture > docs/demo.svg`."""

import io
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TITLE = "make demo"
COLUMNS = 110


def drawn(screen: str, title: str = TITLE) -> str:
    """Return the SVG of a screen with its colours (ANSI). It names fonts and loads none."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen), end="")
    svg = console.export_svg(title=title, theme=MONOKAI)
    start, end = svg.find("@font-face"), svg.rfind("@font-face")
    close = svg.find("}", end) + 1
    return svg[:start] + svg[close:] if start >= 0 else svg


if __name__ == "__main__":
    sys.stdout.write(drawn(sys.stdin.read().rstrip("\n")))
