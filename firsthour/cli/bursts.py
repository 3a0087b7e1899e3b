"""`firsthour bursts`: bursts of requests whose leads are held back."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, say

app = typer.Typer(
    help="Bursts of requests whose leads are held back: list, release, drop.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """Bursts of requests whose leads are held back: list, release, drop."""


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
        ("id", "burst of", "source", "since", "leads", "state"),
        ([one["id"], one["of"], one["source"], one["since"], one["leads"], _state(one)] for one in answer["items"]),
    )


def _state(burst: dict[str, Any]) -> str:
    if burst["dropped_at"]:
        return f"dropped by {burst['dropped_by']}: {burst['drop_reason']}"
    return f"released by {burst['released_by']}" if burst["released_at"] else "held back"


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


@app.command()
def drop(
    burst: Annotated[str, typer.Argument(help="Id of the burst.")],
    reason: Annotated[str, typer.Option(help="A reason of the agreement's transition.")] = "spam",
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Drop the leads of a burst: each leaves Sales, by the agreement's transition from `qualified` to Marketing.

    Example: firsthour bursts drop 0123456789abcdef
    """
    path = f"/v1/bursts/{quote(burst, safe='')}/drop"
    answer = ask("POST", path, data, config, configured=True, body={"reason": reason})
    if as_json:
        print_json(answer)
    else:
        say(f"Dropped: {answer['leads']} leads of {answer['of']}.")
