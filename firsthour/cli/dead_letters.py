"""`firsthour deadletters`: lists, shows, retries and drops dead letters."""

import base64
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from firsthour.cli.installation import ask, connect
from firsthour.runtime.http.errors import BAD_INPUT, NO
from firsthour.runtime.terminal import (
    AsJson,
    ConfigDir,
    DataDir,
    err,
    fail,
    print_json,
    print_raw,
    print_table,
    run,
    say,
)

Id = Annotated[str, typer.Argument(help="Id of the dead letter, as in `deadletters list`.")]


class LetterState(StrEnum):
    """The state of a dead letter. `unmatched`: no entry of the mapping of its source applies to it."""

    waiting = "waiting"
    unmatched = "unmatched"
    retried = "retried"
    dropped = "dropped"


class OpenState(StrEnum):
    """The state of a dead letter that can be retried."""

    waiting = "waiting"
    unmatched = "unmatched"


app = typer.Typer(
    help="Dead letters: list, show, retry, drop.\n\nA dead letter is a request or record that could not be read or handled.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("list")
def listing(
    state: Annotated[LetterState, typer.Option(help="Dead letters in this state.")] = LetterState.waiting,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most this many, oldest first.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Continue an earlier list: the cursor at its end.")] = None,
    source: Annotated[str, typer.Option(help="Only the input of this source or API key.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first, without their bodies.

    Example: firsthour deadletters list
    """
    after = f"&cursor={quote(cursor, safe='')}" if cursor else ""
    of = f"&source={quote(source, safe='')}" if source else ""
    page = ask("GET", f"/v1/deadletters?state={state.value}&limit={limit}{of}{after}", data)
    if as_json:
        print_json(page)
    elif page["items"]:
        columns = ("id", "at", "consumer", "origin", "source", "tries", "error")
        print_table(columns, ([letter[name] for name in columns] for letter in page["items"]))
        if page["next"]:
            say(f"Continue with: --cursor {page['next']}")
    else:
        say(f"None {state.value}.")


@app.command()
def show(id: Id, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show a dead letter with its body, which may hold personal data.

    Example: firsthour deadletters show 01a20150-fb39-7fc5-a695-acdd5a79d9b2
    """
    letter = ask("GET", _path(id), data)
    if as_json:
        print_json(letter)
        return
    print_table(("", ""), ([name, value] for name, value in letter.items() if not name.startswith("body")))
    typer.echo()
    body = letter["body"]
    print_raw(body.encode() if body is not None else base64.b64decode(letter["body_base64"]))


@app.command()
def retry(
    id: Annotated[str, typer.Argument(help="Id of the dead letter, as in `deadletters list`.")] = "",
    body: Annotated[Path | None, typer.Option(help="File with a corrected body.")] = None,
    source: Annotated[str, typer.Option(help="Source or API key whose dead letters are retried, with --all.")] = "",
    all: Annotated[bool, typer.Option("--all", help="Every dead letter of --source.")] = False,
    state: Annotated[
        OpenState,
        typer.Option(help="With --all: those that failed, or those to which no entry of the mapping applied."),
    ] = OpenState.waiting,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Handle a dead letter again, by the service that failed only. --body replaces its body.

    With --source and --all: every dead letter of that source, with the mapping of now. The command can be stopped at
    any time: what was retried is done, the rest waits. Exit code 1 if some fail again.

    Example: firsthour deadletters retry --source hubspot --all
    """
    if source or all:
        if id or body is not None or not (source and all):
            raise typer.BadParameter("name an id, or both --source and --all", param_hint="ID")
        _retry_all(source, state, data, config, as_json)
        return
    if not id:
        raise typer.BadParameter("is missing; name an id, or both --source and --all", param_hint="ID")
    raw = _read(body) if body is not None else None
    answer = ask("POST", f"{_path(id)}/retry", data, config, raw=raw, configured=True)
    if as_json:
        print_json(answer)
    else:
        say(f"Retried: {', '.join(answer['events'])}.")


def _retry_all(source: str, state: OpenState, data: Path | None, config: Path | None, as_json: bool) -> None:
    """Retry page after page, with a progress bar on a terminal."""
    console, numbers, errors = err(), Counter[str](), dict[str, dict[str, Any]]()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    async def all_pages() -> dict[str, Any]:
        path, cursor = f"/v1/deadletters/retry?source={quote(source, safe='')}&state={state.value}", ""
        async with connect(data, config, configured=True) as line:
            with progress:
                task = progress.add_task("retrying", total=None)
                while True:
                    page = await line.ask("POST", path + cursor)
                    numbers.update({name: page[name] for name in ("retried", "events", "failed")})
                    for error in page["errors"]:
                        first = errors.setdefault(error["error"], {**error, "number": 0})
                        first["number"] += error["number"]
                    done = numbers["retried"] + numbers["failed"]
                    progress.update(task, completed=done, total=done + page["left"])
                    if page["next"] is None:
                        return {"source": source, **numbers, "errors": list(errors.values())}
                    cursor = f"&cursor={quote(page['next'], safe='')}"

    answer = run(all_pages)
    if as_json:
        print_json(answer)
    else:
        say(f"Retried: {answer['retried']}, which became {answer['events']} events. Failed again: {answer['failed']}.")
        if answer["errors"]:
            print_table(
                ("number", "first", "error"), ([one["number"], one["id"], one["error"]] for one in answer["errors"])
            )
    if answer["failed"]:
        raise typer.Exit(NO)


@app.command()
def drop(id: Id, data: DataDir = None, as_json: AsJson = False) -> None:
    """Drop a dead letter: its body is erased, and it cannot be retried.

    Example: firsthour deadletters drop 01a20150-fb39-7fc5-a695-acdd5a79d9b2
    """
    answer = ask("POST", f"{_path(id)}/drop", data)
    if as_json:
        print_json(answer)
    else:
        say("Dropped.")


def _path(id: str) -> str:
    if not id.replace("-", "").isalnum():
        raise typer.BadParameter(f"{id!r} is not an id; `firsthour deadletters list` shows the ids", param_hint="ID")
    return f"/v1/deadletters/{id}"


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        fail(BAD_INPUT, f"{file}:1:1: cannot be read ({error.strerror}); name a file that this user can read")
    return content or fail(BAD_INPUT, f"{file}:1:1: is empty; write the corrected body into it, or leave --body out")
