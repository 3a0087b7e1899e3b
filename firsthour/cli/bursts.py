"""`firsthour bursts`: bursts of forms whose leads are held back."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from firsthour.cli.installation import connect
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, run, say

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
    answer = _ask("GET", "/v1/bursts", data, config)
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
    answer = _ask("POST", f"/v1/bursts/{quote(burst, safe='')}/release", data, config)
    if as_json:
        print_json(answer)
    else:
        say(f"Released: {answer['leads']} leads of {answer['of']}.")


def _ask(method: str, path: str, data: Any, config: Any) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with connect(data, config, configured=True) as line:
            return await line.ask(method, path)

    return run(ask)
