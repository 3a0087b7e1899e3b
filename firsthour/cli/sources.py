"""`firsthour sources`: shows what each source of events sent."""

from typing import Annotated, Any

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("sources")
def sources(
    hours: Annotated[int, typer.Option(help="Hours that are counted, 840 at most.", min=1, max=840)] = 24,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """List the sources of events: last seen, accepted, refused by reason, kept for a retry, lag, and the alarms: silent, surge.

    Example: firsthour sources --hours 168
    """

    answer = ask("GET", f"/v1/sources?hours={hours}", data, config, configured=True)
    if as_json:
        print_json(answer)
        return
    columns = ("source", "kind", "last seen", "lag", "accepted", "refused", "kept", "alarm")
    print_table(columns, map(_row, answer["items"]))
    if not answer["items"]:
        say("No source: sources.yaml names none, and no API key has sent an event.")


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    lag = "" if item["lag_seconds"] is None else f"{item['lag_seconds']:.0f} s"
    refused = ", ".join(f"{number} {reason}" for reason, number in item["refused"].items())
    kept = ", ".join(f"{number} {name}" for name, number in item["kept"].items() if number)
    alarm = ", ".join(name for name in ("silent", "surge") if item[name])
    return item["id"], item["kind"], item["last_seen_at"] or "never", lag, item["accepted"], refused, kept, alarm
