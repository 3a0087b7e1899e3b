"""`firsthour rebuild`: rebuilds the models of the reports from the stored history."""

from typing import Any

import typer

from firsthour.cli.installation import connect
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, err, print_json, print_table, run

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("rebuild")
def rebuild(data: DataDir = None, config: ConfigDir = None, as_json: AsJson = False) -> None:
    """Rebuild the models of the reports from the stored history.

    The reports of the response and of the funnel are counted anew, lead by lead, while new events go on being counted. A command
    that is interrupted goes on by itself in a running installation.

    Example: firsthour rebuild
    """

    async def work() -> dict[str, Any]:
        async with connect(data, config) as line:
            with err().status("Rebuilding ...") as status:
                answer = await line.ask("POST", "/v1/reports/rebuild?restart=true")
                while not answer["complete"]:
                    status.update(f"Rebuilding: {_progress(answer)}")
                    answer = await line.ask("POST", "/v1/reports/rebuild")
            return answer

    answer = run(work)
    if as_json:
        print_json(answer)
        return
    print_table(["model", "leads"], [[item["model"], str(item["leads"])] for item in answer["items"]])


def _progress(answer: dict[str, Any]) -> str:
    return ", ".join(f"{item['model']} {item['leads']:,} of {item['of']:,} leads" for item in answer["items"])
