"""`firsthour page-test`: sends a test page over each channel of a rep."""

import re
from typing import Annotated, Final

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.http.errors import NO
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, err, print_json, print_table
from schemas.values import ID_PATTERN

_COLUMNS: Final = ("channel", "state", "why")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("page-test")
def page_test(
    rep: Annotated[str, typer.Argument(help="Id of the rep, as in team.yaml.", metavar="REP")],
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Send a marked test page over each channel of a rep, and show the result of each.

    Exit code 1 if a channel refused the page, or none was sent.

    Example: firsthour page-test ana
    """
    if not re.fullmatch(ID_PATTERN, rep):
        raise typer.BadParameter(f"{rep!r} is not the id of a rep; the ids are in team.yaml", param_hint="REP")

    with err().status("Sending test pages ..."):
        report = ask("POST", f"/v1/reps/{rep}/page-test", data, config, configured=True)
    if as_json:
        print_json(report)
    else:
        print_table(_COLUMNS, ([item[name] for name in _COLUMNS] for item in report["items"]))
    if not report["ok"]:
        raise typer.Exit(NO)
