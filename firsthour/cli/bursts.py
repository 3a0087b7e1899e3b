"""`firsthour bursts`: bursts of forms whose leads are held back."""

from typing import Annotated
from urllib.parse import quote

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, say

app = typer.Typer(
    help="Bursts of forms whose leads are held back: list, release.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """Bursts of forms whose leads are held back: list, release."""


@app.command("list")
def listed(data: DataDir = None, config: ConfigDir = None, as_json: AsJson = False) -> None:
    """List the bursts, the newest first, with the number of leads that were held back.

    Example: firsthour bursts list
    """
    answer = ask("GET", "/v1/bursts", data, config, configured=True)
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        say("No burst was held back.")
        return
    print_table(
        ("id", "burst of", "source", "since", "leads", "released"),
        (
            [one["id"], one["of"], one["source"], one["since"], one["leads"], one["released_by"] or "no"]
            for one in answer["items"]
        ),
    )


@app.command()
def release(
    burst: Annotated[str, typer.Argument(help="Id of the burst.")],
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Release the leads of a burst: each gets an owner, or its place in the queue.

    Example: firsthour bursts release 0123456789abcdef
    """
    answer = ask("POST", f"/v1/bursts/{quote(burst, safe='')}/release", data, config, configured=True)
    if as_json:
        print_json(answer)
    else:
        say(f"Released: {answer['leads']} leads of {answer['of']}.")
