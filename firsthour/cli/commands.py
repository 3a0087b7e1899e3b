"""The commands of `firsthour`, as `--help` lists them. Only this module loads theirs."""

import gc
import importlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

from firsthour.kernel.printable import printable
from firsthour.runtime.value_faults import value_fault


class CommandEntry(NamedTuple):
    """A command, or a group of commands, as `--help` lists it."""

    module: str  # in `firsthour.cli`; its `app` holds the command
    summary: str  # the first sentence of the command's help


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "up": CommandEntry("up", "Run all services in one process, on an embedded database."),
    "serve": CommandEntry("serve", "Run services over Apache Kafka and PostgreSQL."),
    "migrate": CommandEntry("migrate", "Create or upgrade the tables, and create the Kafka topics."),
    "apply": CommandEntry(
        "apply",
        "Put the configuration files in force for all processes.",
    ),
    "init": CommandEntry("init", "Write commented examples of the configuration files."),
    "verify": CommandEntry("verify", "Check the invariants, and name the rows that break them."),
    "doctor": CommandEntry("doctor", "Show the faults of this installation, each with its remedy."),
    "bench": CommandEntry("bench", "Measure this machine against the performance goals."),
    "version": CommandEntry("version", "Print the version."),
    "spool": CommandEntry("spool", "Spool of a gateway: drain."),
    "agreement": CommandEntry("agreement", "Configuration files: check; facts that their rules lack: missing."),
    "page-test": CommandEntry(
        "page_test", "Send a marked test page over each channel of a rep, and show the result of each."
    ),
    "report": CommandEntry("report", "Reports: response, funnel."),
    "rebuild": CommandEntry("rebuild", "Rebuild the models of the reports from the stored history."),
    "import": CommandEntry("importing", "Import a list from a CSV file: leads, companies, opportunities or costs."),
    "sources": CommandEntry(
        "sources",
        "List the sources of events: last seen, accepted, refused by reason, kept for a retry, lag, and the alarms: silent, surge.",
    ),
    "source": CommandEntry("source", "Sources of events: fields, try."),
    "bursts": CommandEntry("bursts", "Bursts of requests whose leads are held back: list, release, drop."),
    "quarantine": CommandEntry("quarantine", "Events beyond the quota of their source: list, release, drop."),
    "console-link": CommandEntry("console_link", "Make a one-time link that signs a person in to the console."),
    "audit": CommandEntry("audit", "Show what people did: actor, action, target and result, newest first."),
    "keys": CommandEntry("keys", "API keys: create, list, revoke."),
    "webhooks": CommandEntry("webhooks", "Webhooks: list, log, show, resend, enable."),
    "tell": CommandEntry("tell", "Send a notice to a team: marketing, sales or operator."),
    "deadletters": CommandEntry("dead_letters", "Dead letters: list, show, retry, drop."),
}


def load(name: str) -> Any:
    """Import the module of a command and return the command."""
    return typer.main.get_command(load_module(COMMANDS[name].module).app)


def load_module(name: str) -> Any:
    """Import a module of the command line that only some commands need."""
    gc.disable()  # modules create no garbage, and collections would take a fifth of the import time
    try:
        return importlib.import_module(f"firsthour.cli.{name}")
    finally:
        gc.freeze()
        gc.enable()


class CommandGroup(TyperGroup):
    """The group of all commands. Only the command that is called is loaded."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command itself instead of its entry in the help."""
        name, entry, rest = super().resolve_command(ctx, args)
        return name, entry if name is None else load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A value that it refuses is reported in our own words."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            mistakes = getattr(error.__cause__, "errors", None)  # of pydantic, which the library calls
            if mistakes is not None:
                mistake = mistakes()[0]
                error.message = f"`{printable(str(mistake['input']))[:60]}` {value_fault(mistake)}"
            raise


def add_entries(app: typer.Typer) -> None:
    """Add every command to the group, as the help lists it."""
    for name, entry in COMMANDS.items():
        app.command(name, help=entry.summary)(_entry)


def _entry() -> None:
    """Stand for a command that is not loaded."""
