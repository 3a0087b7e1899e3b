"""`firsthour verify`: checks the invariants."""

from typing import Annotated, Any

import typer
from rich.text import Text

from firsthour.cli.installation import ask
from firsthour.runtime.http.errors import NO
from firsthour.runtime.terminal import AsJson, DataDir, err, out, print_json, say

Answer = dict[str, Any]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("verify")
def verify(
    data: DataDir = None,
    every: Annotated[bool, typer.Option("--all", help="Name every row, not only ten for each invariant.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the invariants, and name the rows that break them. All are checked on one snapshot of the database.

    Exit code 1 if an invariant is broken. On a running installation the command waits, 30 s at most, until all services have
    handled the events so far.

    Example: firsthour verify --all
    """

    with err().status("Checking every lead, assignment, page and decision ..."):
        report = ask("POST", "/v1/verify?all=true" if every else "/v1/verify", data)
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    if not report["ok"]:
        raise typer.Exit(NO)


def _print_report(report: Answer) -> None:
    console = out()
    say(_judged(report), console, "yellow" if report["left_out"] else "")
    for item in report["items"]:
        mark = Text("holds ", "green") if item["ok"] else Text("BROKEN", "bold red")
        count = "" if item["ok"] else f" ({item['broken']} rows)"
        console.print(Text.assemble(f"{item['invariant']:4}", mark, f"  {item['holds']}{count}"), soft_wrap=True)
        for row in item["rows"]:
            say(f"          {row}", console)
        if more := item["broken"] - len(item["rows"]):
            say(f"          and {more} more: firsthour verify --all", console, "dim")
    for item in report["unread"]:
        say(
            f"not judged yet: {item['records']} records of {item['topic']} that {item['consumer']} has not read",
            console,
        )
    for line in report["behind"]:
        say(f"behind: {line}; read the log and /readyz", console, "yellow")


def _judged(report: Answer) -> str:
    """Return how many leads were judged: a result says nothing about the others."""
    judged, left_out = report["judged"], report["left_out"]
    if not judged + left_out:
        return "No lead was judged: there is none yet."
    if not left_out:
        return f"All leads were judged: {judged}."
    count = (
        f"{left_out} of {judged + left_out} leads were NOT judged" if judged else f"NO LEAD was judged, of {left_out}"
    )
    return (
        f"{count}: they have unread records or dead letters, or changed during the command; `firsthour deadletters list` "
        "shows the dead letters"
    )
