"""`firsthour webhooks`: lists the webhooks and their deliveries, sends deliveries again, and enables a webhook."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, say

Name = Annotated[str, typer.Argument(help="Name of the webhook in the section `channels` of the agreement.")]


class DeliveryState(StrEnum):
    """The deliveries that a list shows."""

    all = "all"
    failed = "failed"
    waiting = "waiting"


app = typer.Typer(
    help="Webhooks: list, log, show, resend, enable.\n\nA webhook is a channel of `kind: webhook` in the agreement.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("list")
def listing(data: DataDir = None, config: ConfigDir = None, as_json: AsJson = False) -> None:
    """List the webhooks, with the number of deliveries that wait.

    Example: firsthour webhooks list
    """
    answer = ask("GET", "/v1/webhooks", data, config, configured=True)
    if as_json:
        print_json(answer)
    elif answer["items"]:
        columns = ("name", "events", "waiting", "switched off")
        print_table(columns, (_line(item) for item in answer["items"]))
    else:
        say("The agreement has no webhook.")


@app.command()
def log(
    name: Name,
    state: Annotated[DeliveryState, typer.Option(help="Deliveries in this state.")] = DeliveryState.all,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many, newest first.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue an earlier list: the cursor at its end.")] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """List the deliveries to a webhook in the last 30 days, newest first.

    Example: firsthour webhooks log crm --state failed
    """
    after = f"&cursor={quote(cursor, safe='')}" if cursor else ""
    answer = ask(
        "GET", f"{_path(name)}/deliveries?state={state.value}&limit={limit}{after}", data, config, configured=True
    )
    if as_json:
        print_json(answer)
    elif answer["items"]:
        columns = ("id", "created_at", "type", "state", "tries", "next_at", "error")
        print_table(columns, ([item[column] for column in columns] for item in answer["items"]))
        if answer["next"]:
            say(f"Continue with: --cursor {answer['next']}")
    else:
        say("None.")


@app.command()
def show(
    name: Name,
    id: Annotated[str, typer.Argument(help="Id of the delivery, as in `webhooks log`.")],
    data: DataDir = None,
    config: ConfigDir = None,
) -> None:
    """Show a delivery with its body, which may hold personal data, and each attempt, as JSON.

    Example: firsthour webhooks show crm 0d6e5f7c-4f0a-5b6e-8a35-0c3c7a3f8f55
    """
    print_json(ask("GET", f"{_path(name)}/deliveries/{quote(id, safe='')}", data, config, configured=True))


@app.command()
def resend(
    name: Name,
    id: Annotated[str | None, typer.Argument(help="Id of one delivery; without it, all that failed.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Of all that failed: those created at this time (UTC) or later.")
    ] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, or all that failed.

    Example: firsthour webhooks resend crm --since 2026-11-30T08:00:00
    """
    count, more = 0, True
    while more:
        after = f"?since={quote(since.isoformat(), safe='')}" if since is not None else ""
        path = f"{_path(name)}/resend{after}" if id is None else f"{_path(name)}/deliveries/{quote(id, safe='')}/resend"
        answer = ask("POST", path, data, config, configured=True)
        count, more = count + answer["resent"], answer.get("more", False)
    if as_json:
        print_json({"resent": count})
    else:
        say(f"Deliveries to be sent again: {count}.")


@app.command()
def enable(name: Name, data: DataDir = None, config: ConfigDir = None, as_json: AsJson = False) -> None:
    """Switch a webhook on that was switched off because its receiver answered 410.

    Example: firsthour webhooks enable crm
    """
    answer = ask("POST", f"{_path(name)}/enable", data, config, configured=True)
    if as_json:
        print_json(answer)
    else:
        say(f"{name} is switched on." if answer["enabled"] else f"{name} was not switched off.")


def _line(item: dict[str, Any]) -> list[str]:
    off = item["disabled"]
    return [item["name"], ", ".join(item["events"]), str(item["waiting"]), off["why"] if off else ""]


def _path(name: str) -> str:
    return f"/v1/webhooks/{quote(name, safe='')}"
