"""The commands of `firsthour`: what `--help` lists, and the only place that loads their modules."""

import gc
import importlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup


class CommandEntry(NamedTuple):
    """A command, or a group of commands, as `--help` lists it."""

    module: str  # in `firsthour.cli`; its `app` holds the command
    summary: str  # the first sentence of the command's help


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "up": CommandEntry("up", "Serve everything in one process, on an embedded database."),
    "serve": CommandEntry(
        "serve", "Serve some services over Apache Kafka and PostgreSQL, beside any number of other processes."
    ),
    "migrate": CommandEntry("migrate", "Bring the tables up to date, and over Kafka make the topics."),
    "apply": CommandEntry(
        "apply", "Put agreement.yaml, team.yaml and sources.yaml in force, for every process over this database."
    ),
    "init": CommandEntry("init", "Write agreement.yaml, team.yaml and sources.yaml, commented, to start from."),
    "verify": CommandEntry(
        "verify", "Check the invariants I1 to I10 on one snapshot of the database; name the rows that break one."
    ),
    "doctor": CommandEntry("doctor", "Say what is wrong with this installation, and the remedy."),
    "bench": CommandEntry("bench", "Measure this machine against the goals, in about three minutes."),
    "version": CommandEntry("version", "Which FirstHour this is."),
    "spool": CommandEntry("spool", "The spool of a gateway."),
    "agreement": CommandEntry("agreement", "The agreement between the two teams."),
    "keys": CommandEntry("keys", "API keys: create, list, revoke."),
    "deadletters": CommandEntry("dead_letters", "What could not be understood or handled: list, show, retry, drop."),
}


def load(name: str) -> Any:
    """Import the module of a command and return the command."""
    gc.disable()  # what modules hold is no garbage: looking for some among it takes a fifth of their import
    try:
        module = importlib.import_module(f"firsthour.cli.{COMMANDS[name].module}")
    finally:
        gc.freeze()
        gc.enable()
    return typer.main.get_command(module.app)


class CommandGroup(TyperGroup):
    """The group of all commands. A command is loaded when it is called; the others cost nothing."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the entry that the help lists by the command itself."""
        name, entry, rest = super().resolve_command(ctx, args)
        return name, entry if name is None else load(name), rest


def add_entries(app: typer.Typer) -> None:
    """Add every command to the group, as the help lists it."""
    for name, entry in COMMANDS.items():
        app.command(name, help=entry.summary)(_entry)


def _entry() -> None:
    """Stand for a command that is not loaded."""
