"""`firsthour source`: shows what the sources of events send."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from firsthour.cli.installation import connect
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, run, say

app = typer.Typer(help="Sources of events: fields.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Sources of events: fields."""


@app.command()
def fields(
    source: Annotated[str, typer.Argument(help="Id of a source in sources.yaml, or the name of an API key.")],
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """List the fields that a source sent and FirstHour did not understand, with their number of events.

    Each is kept as the custom fact `custom.<name>`. `fields:` of the source in sources.yaml gives it a meaning.

    Example: firsthour source fields website
    """

    async def ask() -> dict[str, Any]:
        async with connect(data, config) as line:
            return await line.ask("GET", f"/v1/sources/{quote(source, safe='')}/fields")

    answer = run(ask)
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        say(f"Every field of {source} in the last 35 days was understood, or it sent none.")
        return
    columns = ("name", "events", "last seen", "note")
    print_table(columns, ([item["name"], item["events"], item["last_at"], _note(item)] for item in answer["items"]))
    if answer["others"]:
        say(f"Fields with further names: {answer['others']} in all.")


def _note(item: dict[str, Any]) -> str:
    if item["used"]:
        return "read by the agreement"
    return f"means {item['means']}, which another field filled" if item["means"] else ""
