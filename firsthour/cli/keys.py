"""`firsthour keys`: API keys with roles."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic_core import PydanticCustomError

from firsthour.cli.installation import connect
from firsthour.runtime.clock import HostClock
from firsthour.runtime.terminal import AsJson, DataDir, print_json, print_table, run, say
from schemas.values import positive_duration


class Role(StrEnum):
    """What a key may do: ingest < marketing, sales < manager < admin."""

    ingest = "ingest"
    marketing = "marketing"
    sales = "sales"
    manager = "manager"
    admin = "admin"


app = typer.Typer(
    help="API keys: create, list, revoke.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.command()
def create(
    role: Annotated[Role, typer.Option(help="What it may do.")],
    name: Annotated[str, typer.Option(help="How lists and timelines call it.")],
    rep: Annotated[str | None, typer.Option(help="It acts as this rep, an id of team.yaml.")] = None,
    source: Annotated[
        str | None, typer.Option(help="It sends the event types of this source, a `kind: api` id of sources.yaml.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="It ends by itself after this long.", metavar="90d")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once; only its hash is kept.

    Example: firsthour keys create --role sales --name "Ana's phone" --rep ana --expires 90d
    """
    body: dict[str, Any] = {"role": role.value, "name": name}
    body |= {field: value for field, value in (("rep", rep), ("source", source)) if value is not None}
    if expires is not None:
        body["expires_at"] = _end(expires)

    async def ask() -> dict[str, Any]:
        async with connect(data, create=True, configured=rep is not None or source is not None) as line:
            return await line.ask("POST", "/v1/keys", body=body)

    made = run(ask)
    if as_json:
        print_json(made)
        return
    say(made["key"], style="bold")
    say(f"Shown this once. Its id is {made['id']}; revoke it by `firsthour keys revoke {made['id']}`.")


@app.command("list")
def listing(data: DataDir = None, as_json: AsJson = False) -> None:
    """Every key, oldest first; never a secret.

    Example: firsthour keys list
    """

    async def ask() -> dict[str, Any]:
        async with connect(data) as line:
            return await line.ask("GET", "/v1/keys")

    found = run(ask)
    if as_json:
        print_json(found)
        return
    shown = ("id", "name", "role", "rep", "source", "state", "created_at", "expires_at", "used_at")
    print_table([name.removesuffix("_at") for name in shown], ([key[name] for name in shown] for key in found["items"]))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as in `keys list`.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on.

    Example: firsthour keys revoke 3f0c9a1b2d4e
    """

    path = f"/v1/keys/{_in_path(id)}"

    async def ask() -> dict[str, Any]:
        async with connect(data) as line:
            return await line.ask("DELETE", path)

    gone = run(ask)
    if as_json:
        print_json(gone)
    else:
        say(f"{gone['name']} ({gone['role']}) is revoked.")


def _end(expires: str) -> str:
    try:
        return (HostClock().real() + positive_duration(expires)).isoformat()
    except PydanticCustomError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--expires") from None


def _in_path(id: str) -> str:
    if not id.isalnum():
        raise typer.BadParameter(f"{id!r} is no id of a key; `firsthour keys list` shows them", param_hint="ID")
    return id
