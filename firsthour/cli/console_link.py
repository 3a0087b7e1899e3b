"""`firsthour console-link`: makes a one-time link that signs a person in to the console."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, say


class ConsoleRole(StrEnum):
    """The rights of a session: marketing, sales < manager < admin."""

    marketing = "marketing"
    sales = "sales"
    manager = "manager"
    admin = "admin"


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("console-link")
def console_link(
    role: Annotated[ConsoleRole, typer.Option(help="Rights of the session.")],
    rep: Annotated[str | None, typer.Option(help="The session acts as this rep, an id of team.yaml.")] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a one-time link that signs a person in to the console. It lasts for 15 minutes.

    Example: firsthour console-link --role sales --rep ana
    """
    body: dict[str, Any] = {"role": role.value}
    if rep is not None:
        body["rep"] = rep
    link = ask(
        "POST",
        "/v1/console-links",
        data,
        config,
        configured=rep is not None,
        body=body,
        options={"#/role": "--role", "#/rep": "--rep"},
    )
    if as_json:
        print_json(link)
        return
    say(link["url"], style="bold")
    say("The link works once, and lasts for 15 minutes.")
