"""`firsthour report`: prints reports."""

from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from firsthour.cli.installation import ask
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, cell, print_json, print_table, say


class ReportKey(StrEnum):
    """The value by which requests are grouped."""

    source = "source"
    rep = "rep"
    urgency = "urgency"
    day = "day"
    weekday = "weekday"
    hour = "hour"


_OPTIONS: Final = {"query:since": "--since", "query:calendar": "--calendar"}
_COLUMNS: Final = (
    "requests",
    "within hour",
    "share",
    "in work",
    "median",
    "p90",
    "never",
    "pending",
    "attempts",
    "talks",
)

app = typer.Typer(help="Reports: response.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Reports: response."""


@app.command()
def response(
    since: Annotated[str, typer.Option(help="A span such as 7d, or a time; at most 400 days ago.")] = "30d",
    by: Annotated[ReportKey | None, typer.Option(help="One line for each of these.")] = None,
    calendar: Annotated[
        str | None,
        typer.Option(help="Days, weekdays and hours are those of this calendar of the agreement. [default: UTC]"),
    ] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Show how many requests had a first touch within their first hour, and how long the first touch took.

    Example: firsthour report response --since 7d --by rep
    """
    query = {"since": since, "by": by.value if by else None, "calendar": calendar}
    path = f"/v1/reports/response?{urlencode({name: value for name, value in query.items() if value is not None})}"

    report = ask("GET", path, data, config, options=_OPTIONS)
    if as_json:
        print_json(report)
        return
    since_text, until_text = cell(report["since"]), cell(report["until"])
    say(f"Requests from {since_text} to {until_text} UTC; days, weekdays and hours in {report['timezone']}.")
    rows = [("all", report["total"]), *((item["key"], item) for item in report["items"])]
    print_table([report["by"] or "", *_COLUMNS], [_row(key, figures) for key, figures in rows])
    if not report["complete"]:
        say("Older requests are still being counted: run the command again later.", style="yellow")


def _row(key: Any, figures: dict[str, Any]) -> list[str]:
    raw, working = figures["raw"], figures["working"]
    cells = (
        figures["requests"],
        raw["within_hour"],
        _percent(raw["share"]),
        _percent(working["share"]),
        _minutes(raw["median_seconds"]),
        _minutes(raw["p90_seconds"]),
        figures["never_touched"],
        figures["pending"],
        figures["attempts"],
        figures["conversations"],
    )
    return ["unknown" if key is None else str(key), *(str(cell) for cell in cells)]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.0f} min"
