"""`firsthour audit`: shows what people did."""

from typing import Annotated
from urllib.parse import urlencode

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, DataDir, print_json, print_table, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)
COLUMNS = ("at", "actor", "role", "via", "action", "target", "outcome", "status")


@app.command("audit")
def audit(
    actor: Annotated[str | None, typer.Option(help="Only this actor, such as rep:ana or key:crm.")] = None,
    target: Annotated[str | None, typer.Option(help="Only this target: the id of a lead, rep, key or other.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as leads.accept.")] = None,
    since: Annotated[str | None, typer.Option(help="A span such as 7d, or a time.")] = None,
    until: Annotated[str | None, typer.Option(help="As --since; not included.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most this many, newest first.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Continue an earlier list: the cursor at its end.")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what people did: actor, action, target and result, newest first.

    Example: firsthour audit --actor rep:ana --since 7d
    """
    given = {
        "actor": actor,
        "target": target,
        "action": action,
        "since": since,
        "until": until,
        "limit": limit,
        "cursor": cursor,
    }
    query = urlencode({name: value for name, value in given.items() if value is not None})
    page = ask("GET", f"/v1/audit?{query}", data)
    if as_json:
        print_json(page)
    elif page["items"]:
        print_table(COLUMNS, ([item[name] for name in COLUMNS] for item in page["items"]))
        if page["next"]:
            say(f"Continue with: --cursor {page['next']}")
    else:
        say("Nothing is recorded.")
