"""`firsthour quarantine`: events beyond the quota of their source."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, say

app = typer.Typer(
    help="Events beyond the quota of their source: list, release, drop.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Source = Annotated[str, typer.Argument(help="Id of a source in sources.yaml, or the name of an API key.")]


@app.callback()
def _group() -> None:
    """Events beyond the quota of their source: list, release, drop."""


@app.command("list")
def listed(
    limit: Annotated[int, typer.Option(help="Events that are shown, 200 at most.", min=1, max=200)] = 50,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """List the events in quarantine: their number for each source, and the oldest.

    Example: firsthour quarantine list
    """
    answer = ask("GET", f"/v1/quarantine?limit={limit}", data, config, configured=True)
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        say("No event is in quarantine.")
        return
    print_table(
        ("source", "events", "since"), ([id, one["events"], one["since"]] for id, one in answer["sources"].items())
    )
    print_table(
        ("source", "type", "person", "arrived"),
        ([item["source"], item["type"], item["person"], item["at"]] for item in answer["items"]),
    )


@app.command()
def release(source: Source, data: DataDir = None, config: ConfigDir = None, as_json: AsJson = False) -> None:
    """Release the events of a source: each takes effect as of the time at which it arrived.

    Example: firsthour quarantine release website
    """
    _change(source, "release", "released", data, config, as_json=as_json)


@app.command()
def drop(source: Source, data: DataDir = None, config: ConfigDir = None, as_json: AsJson = False) -> None:
    """Drop the events of a source for good.

    Example: firsthour quarantine drop website
    """
    _change(source, "drop", "dropped", data, config, as_json=as_json)


def _change(source: str, change: str, done: str, data: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Change all events of a source, and print their number. `done`: its name in the answer."""
    answer = ask("POST", f"/v1/quarantine/{quote(source, safe='')}/{change}", data, config, configured=True)
    if as_json:
        print_json(answer)
    else:
        say(f"{done.capitalize()}: {answer[done]}.")
