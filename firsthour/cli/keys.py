"""`firsthour keys`: creates, lists and revokes API keys."""

from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from pydantic_core import PydanticCustomError

from firsthour.cli.installation import ask
from firsthour.runtime.clock import HostClock
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, say
from schemas.values import positive_duration


class Role(StrEnum):
    """The rights of a key: ingest < marketing, sales < manager < admin."""

    ingest = "ingest"
    marketing = "marketing"
    sales = "sales"
    manager = "manager"
    admin = "admin"


_OPTIONS: Final = {
    "#/role": "--role",
    "#/name": "--name",
    "#/rep": "--rep",
    "#/source": "--source",
    "#/expires_at": "--expires",
}
"""The option that sets each field of the request."""

app = typer.Typer(
    help="API keys: create, list, revoke.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.command()
def create(
    role: Annotated[Role, typer.Option(help="Rights of the key.")],
    name: Annotated[str, typer.Option(help="Name of the key in lists and timelines.")],
    rep: Annotated[str | None, typer.Option(help="The key acts as this rep, an id of team.yaml.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="The key sends the event types of this source, the id of a `kind: api` source in sources.yaml."
        ),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="The key expires after this time.", metavar="90d")] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is shown once: only its hash is stored.

    Example: firsthour keys create --role sales --name "Ana's phone" --rep ana --expires 90d
    """
    body: dict[str, Any] = {"role": role.value, "name": name}
    body |= {field: value for field, value in (("rep", rep), ("source", source)) if value is not None}
    if expires is not None:
        body["expires_at"] = _end(expires)

    key = ask(
        "POST",
        "/v1/keys",
        data,
        config,
        create=True,
        configured=rep is not None or source is not None,
        body=body,
        options=_OPTIONS,
    )
    if as_json:
        print_json(key)
        return
    say(key["key"], style="bold")
    say(f"The key is shown only once. To revoke it: firsthour keys revoke {key['id']}")


@app.command("list")
def listing(data: DataDir = None, as_json: AsJson = False) -> None:
    """List all keys, oldest first, without the secrets.

    Example: firsthour keys list
    """

    keys = ask("GET", "/v1/keys", data)
    if as_json:
        print_json(keys)
        return
    columns = ("id", "name", "role", "rep", "source", "state", "created_at", "expires_at", "used_at")
    rows = ([key[name] for name in columns] for key in keys["items"])
    print_table([name.removesuffix("_at") for name in columns], rows)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="Id of the key, as in `keys list`.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: it is refused from now on.

    Example: firsthour keys revoke 3f0c9a1b2d4e
    """

    path = f"/v1/keys/{_in_path(id)}"

    key = ask("DELETE", path, data)
    if as_json:
        print_json(key)
    else:
        say(f"{key['name']} ({key['role']}) is revoked.")


def _end(expires: str) -> str:
    try:
        return (HostClock().real() + positive_duration(expires)).isoformat()
    except PydanticCustomError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None


def _in_path(id: str) -> str:
    if not id.isalnum():
        raise typer.BadParameter(f"{id!r} is not the id of a key; `firsthour keys list` shows the ids", param_hint="ID")
    return id
