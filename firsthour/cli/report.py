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

_FUNNEL_OPTIONS: Final = {f"query:{name}": f"--{name}" for name in ("from", "to", "basis", "passes", "per", "by")}
_FUNNEL_COLUMNS: Final = (
    "step",
    "reached",
    "went on",
    "skipped next",
    "ended",
    "there",
    "conversion",
    "median",
    "p90",
    "again",
)


class FunnelGroup(StrEnum):
    """The value by which leads are grouped in the funnel."""

    source = "source"
    campaign = "campaign"
    form = "form"
    persona = "persona"
    grade = "grade"
    rep = "rep"
    team = "team"
    cohort = "cohort"


app = typer.Typer(help="Reports: response, funnel.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Reports: response, funnel."""


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


@app.command()
def funnel(
    since: Annotated[
        str, typer.Option("--from", help="A span such as 90d, a day or a time; at most 400 days ago.")
    ] = "90d",
    to: Annotated[str | None, typer.Option(help="A day or a time, not included. [default: now]")] = None,
    by: Annotated[FunnelGroup | None, typer.Option(help="One table for each of these.")] = None,
    per: Annotated[str, typer.Option(help="The span of --by cohort: day, week or month.")] = "week",
    basis: Annotated[
        str, typer.Option(help="cohort: leads that came in the period. activity: steps reached in it.")
    ] = "cohort",
    passes: Annotated[
        str, typer.Option(help="first: from the first event on. later: after a return to Marketing. all: both.")
    ] = "first",
    where: Annotated[
        list[str] | None, typer.Option("--where", help="A filter such as source=website; repeat it for more.")
    ] = None,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Show how many leads reached each step from the first event to revenue, went on, ended or are still there, and how long
    each step took.

    Example: firsthour report funnel --from 30d --by source
    """
    query = {"from": since, "to": to, "by": by.value if by else None, "per": per, "basis": basis, "passes": passes}
    given = {name: value for name, value in query.items() if value is not None}
    path = f"/v1/reports/funnel?{urlencode([*given.items(), *(_filter(text) for text in where or ())])}"

    report = ask("GET", path, data, config, options=_FUNNEL_OPTIONS)
    if as_json:
        print_json(report)
        return
    say(f"Leads from {cell(report['from'])} to {cell(report['to'])} UTC, {report['basis']}, {report['passes']} passes.")
    for title, group in [("all", report["total"]), *((_title(item), item) for item in report["items"])]:
        say(f"\n{title}: {group['entered']} entered")
        names = {step["key"]: step["name"] for step in report["steps"]}
        print_table(list(_FUNNEL_COLUMNS), [_step(names, step) for step in group["steps"]])
    if not report["complete"]:
        say("Older leads are still being counted: run the command again later.", style="yellow")


def _filter(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"{text!r} is no filter; write source=website", param_hint="--where")
    return name, value


def _title(item: dict[str, Any]) -> str:
    return "all others" if item["other"] else item["key"] or "unknown"


def _step(names: dict[str, str], step: dict[str, Any]) -> list[str]:
    counts = [step[name] for name in ("reached", "converted", "skipped", "ended", "there")]
    return [
        names[step["step"]],
        *("" if count is None else str(count) for count in counts),
        _percent(step["conversion"]),
        _span(step["median_seconds"]),
        _span(step["p90_seconds"]),
        str(step["again"]),
    ]


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


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
