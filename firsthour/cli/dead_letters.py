"""`firsthour deadletters`: what could not be understood or handled, to be corrected and retried."""

import base64
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from firsthour.cli.installation import connect
from firsthour.runtime.http.errors import BAD_INPUT
from firsthour.runtime.terminal import AsJson, DataDir, fail, print_json, print_raw, print_table, run, say

Id = Annotated[str, typer.Argument(help="The letter's id, as in `deadletters list`.")]


class LetterState(StrEnum):
    """What became of a letter."""

    waiting = "waiting"
    retried = "retried"
    dropped = "dropped"


app = typer.Typer(
    help="What could not be understood or handled: list, show, retry, drop.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("list")
def listing(
    state: Annotated[LetterState, typer.Option(help="Letters in this state.")] = LetterState.waiting,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, the oldest first.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Go on after an earlier list: the cursor it ended with.")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Letters, oldest first, without what is in them.

    Example: firsthour deadletters list
    """
    after = f"&cursor={quote(cursor, safe='')}" if cursor else ""
    found = _ask(data, "GET", f"/v1/deadletters?state={state.value}&limit={limit}{after}")
    if as_json:
        print_json(found)
    elif found["items"]:
        shown = ("id", "at", "consumer", "origin", "source", "tries", "error")
        print_table(shown, ([letter[name] for name in shown] for letter in found["items"]))
        if found["next"]:
            say(f"There are more: --cursor {found['next']}")
    else:
        say(f"None {state.value}.")


@app.command()
def show(id: Id, data: DataDir = None, as_json: AsJson = False) -> None:
    """One letter with what was received. This may be personal data.

    Example: firsthour deadletters show 01a20150-fb39-7fc5-a695-acdd5a79d9b2
    """
    letter = _ask(data, "GET", _path(id))
    if as_json:
        print_json(letter)
        return
    print_table(("", ""), ([name, value] for name, value in letter.items() if not name.startswith("body")))
    typer.echo()
    body = letter["body"]
    print_raw(body.encode() if body is not None else base64.b64decode(letter["body_base64"]))


@app.command()
def retry(
    id: Id,
    body: Annotated[Path | None, typer.Option(help="A file with the corrected body.")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Handle a letter again, for whoever failed alone; with a corrected body, if one is given.

    Example: firsthour deadletters retry 01a20150-fb39-7fc5-a695-acdd5a79d9b2 --body corrected.json
    """
    raw = _read(body) if body is not None else None
    done = _ask(data, "POST", f"{_path(id)}/retry", raw=raw, configured=True)
    if as_json:
        print_json(done)
    else:
        say(f"Retried: {', '.join(done['events'])}.")


@app.command()
def drop(id: Id, data: DataDir = None, as_json: AsJson = False) -> None:
    """Give a letter up: its body is erased.

    Example: firsthour deadletters drop 01a20150-fb39-7fc5-a695-acdd5a79d9b2
    """
    done = _ask(data, "POST", f"{_path(id)}/drop")
    if as_json:
        print_json(done)
    else:
        say("Dropped.")


def _ask(
    data: Path | None, method: str, path: str, *, raw: bytes | None = None, configured: bool = False
) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with connect(data, configured=configured) as line:
            return await line.ask(method, path, raw=raw)

    return run(ask)


def _path(id: str) -> str:
    if not id.replace("-", "").isalnum():
        raise typer.BadParameter(f"{id!r} is no id; `firsthour deadletters list` shows them", param_hint="ID")
    return f"/v1/deadletters/{id}"


def _read(file: Path) -> bytes:
    try:
        found = file.read_bytes()
    except OSError as failed:
        fail(BAD_INPUT, f"{file}:1:1: cannot be read ({failed.strerror}); name a file that this user can read")
    return found or fail(BAD_INPUT, f"{file}:1:1: is empty; write the corrected body into it, or leave --body out")
