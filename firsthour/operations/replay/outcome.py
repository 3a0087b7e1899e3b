"""The outcome of a replay: what the installation reports afterwards, as a table or as JSON."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from firsthour.operations.replay.posting import REFUSED, ReplayResult, answer_text
from firsthour.operations.replay.rows import Source
from firsthour.runtime.http.client import AsyncClient

BAD_ROWS_SHOWN_MAX = 20
VERIFY_SECONDS = 120.0
CLEAN = "clean"


async def add_outcome(client: AsyncClient, result: ReplayResult) -> None:
    """Run verify, which waits until every event is handled; then count leads. A key without the rights skips a part."""
    answer = await client.post("/v1/verify", timeout=VERIFY_SECONDS)
    if answer.status_code == 200:
        result.verify = _verdict(answer.json())
    elif answer.status_code not in REFUSED:
        result.verify = answer_text(answer)
    answer = await client.get("/v1/reports/statuses")
    if answer.status_code != 200:
        return
    items = answer.json()["items"]
    result.statuses = {item["status"]: item["leads"] for item in items if item["leads"]}
    marketing = sum(item["leads"] for item in items if item["team"] == "marketing")
    queued = result.statuses.get("qualified", 0)
    sales = sum(item["leads"] for item in items if item["team"] == "sales")
    result.leads = {
        "all": sum(item["leads"] for item in items),
        "owned": sales - queued,
        "queued": queued,
        "marketing": marketing,
    }


def _verdict(report: dict[str, Any]) -> str:
    if report["ok"]:
        return CLEAN
    broken = [
        f"{item['invariant']}: {item['broken']} ({', '.join(item['rows'])})"
        for item in report["items"]
        if not item["ok"]
    ]
    return "; ".join([*broken, *report["behind"]])


def print_outcome(source: Source, result: ReplayResult, console: Console) -> None:
    """Print the result for people."""
    for row in result.bad[:BAD_ROWS_SHOWN_MAX]:
        console.print(f"{source.path}:{row.line}: {row.why}", markup=False, highlight=False, soft_wrap=True)
    if len(result.bad) > BAD_ROWS_SHOWN_MAX:
        console.print(f"... and {len(result.bad) - BAD_ROWS_SHOWN_MAX} more rows that were not accepted")
    table = Table(show_header=False, box=None)
    table.add_row("rows", f"{result.rows:,}")
    table.add_row("accepted", f"{result.accepted:,} in {result.seconds:.1f} s")
    table.add_row("not accepted", f"{len(result.bad):,}")
    if result.resent:
        table.add_row("sent again", f"{result.resent:,}")
    for name, count in result.leads.items():
        table.add_row("leads" if name == "all" else f"  {name}", f"{count:,}")
    console.print(table)
    verdict = result.verify or "skipped: it needs a key of role admin"
    console.print(f" verify        {verdict}", markup=False, highlight=False, soft_wrap=True)


def outcome_json(result: ReplayResult) -> str:
    """Return the result as JSON, for programs."""
    return json.dumps(
        {
            "rows": result.rows,
            "accepted": result.accepted,
            "resent": result.resent,
            "bad": [{"line": row.line, "why": row.why} for row in result.bad],
            "leads": result.leads,
            "statuses": result.statuses,
            "verify": result.verify,
            "seconds": round(result.seconds, 3),
        }
    )
