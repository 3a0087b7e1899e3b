"""`firsthour verify`: whether the invariants hold."""

from typing import Annotated, Any

import typer
from rich.text import Text

from firsthour.cli.installation import connect
from firsthour.runtime.http.errors import NO
from firsthour.runtime.terminal import AsJson, DataDir, err, out, print_json, run, say

Answer = dict[str, Any]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("verify")
def verify(
    data: DataDir = None,
    every: Annotated[bool, typer.Option("--all", help="Name every row, not ten of each invariant.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the invariants I1 to I10 on one snapshot of the database; name the rows that break one.

    Exit code 1 when one is broken. On a live installation it waits, 30 s at most, until what was said is heard.

    Example: firsthour verify --all
    """

    async def ask() -> Answer:
        async with connect(data) as line:
            return await line.ask("POST", "/v1/verify?all=true" if every else "/v1/verify")

    with err().status("Checking every lead, assignment, page and decision ..."):
        found = run(ask)
    if as_json:
        print_json(found)
    else:
        _tell_invariants(found)
    if not found["ok"]:
        raise typer.Exit(NO)


def _tell_invariants(found: Answer) -> None:
    console = out()
    for one in found["items"]:
        mark = Text("holds ", "green") if one["ok"] else Text("BROKEN", "bold red")
        count = "" if one["ok"] else f" ({one['broken']} rows)"
        console.print(Text.assemble(f"{one['invariant']:4}", mark, f"  {one['holds']}{count}"), soft_wrap=True)
        for row in one["rows"]:
            say(f"          {row}", console)
        if more := one["broken"] - len(one["rows"]):
            say(f"          and {more} more: firsthour verify --all", console, "dim")
    for one in found["unread"]:
        say(f"not judged yet: {one['records']} records of {one['topic']} that {one['consumer']} has to read", console)
    if found["left_out"]:
        say(
            f"{found['left_out']} of {found['judged'] + found['left_out']} leads were not judged: they have records on "
            "their way or among the dead letters, or changed meanwhile",
            console,
        )
    for line in found["behind"]:
        say(f"behind: {line}; see the log and /readyz", console, "yellow")
