"""`firsthour tell`: sends a notice to a team."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from firsthour.cli.installation import connect
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, run, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class ToldTeam(StrEnum):
    """A team that the agreement may name a recipient for."""

    marketing = "marketing"
    sales = "sales"
    operator = "operator"


@app.command("tell")
def tell(
    team: Annotated[ToldTeam, typer.Argument(help="The team.", metavar="TEAM")],
    text: Annotated[str, typer.Argument(help="One line of text.", metavar="TEXT")],
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Send a notice to a team: marketing, sales or operator. The agreement names its recipient under `tell`.

    Example: firsthour tell operator "A test of our channels"
    """

    async def ask() -> dict[str, Any]:
        async with connect(data, config, configured=True) as line:
            return await line.ask("POST", f"/v1/tell/{team.value}", body={"text": text}, options={"#/text": "TEXT"})

    answer = run(ask)
    if as_json:
        print_json(answer)
    else:
        say(f"The notice to {team.value} is stored. GET /v1/notices shows what becomes of it.")
