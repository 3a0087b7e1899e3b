"""The program `firsthour`, and the exit of a command that fails."""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from firsthour.cli import error_report
from firsthour.cli.commands import CommandGroup, add_entries
from firsthour.runtime.http.errors import outcome_of
from firsthour.runtime.observability.logging import configure_logging
from firsthour.runtime.terminal import complain, say
from firsthour.runtime.version import VERSION


def _print_version(requested: bool) -> None:
    if requested:
        say(f"firsthour {VERSION}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Route every web lead to a sales rep within its first hour.

    Exit codes: 0 success, 1 failure or findings, 2 wrong input.
    """


def program() -> typer.Typer:
    """Return the program with all its commands."""
    app = typer.Typer(
        name="firsthour",
        cls=CommandGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    app.callback()(_program)
    add_entries(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end with its exit code."""
    configure_logging("console", level=logging.WARNING)  # to standard error: what is printed may be JSON
    try:
        program()(args=arguments, prog_name="firsthour")
    except Exception as error:
        code = outcome_of(error).exit_code
        if code is None:
            raise
        complain(error_report.message(error))
        sys.exit(code)
