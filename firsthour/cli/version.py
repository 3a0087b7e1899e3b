"""`firsthour version`: prints the version."""

import typer

from firsthour.runtime.terminal import AsJson, print_json, say
from firsthour.runtime.version import VERSION

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("version")
def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: firsthour version
    """
    if as_json:
        print_json({"version": VERSION})
    else:
        say(VERSION)
