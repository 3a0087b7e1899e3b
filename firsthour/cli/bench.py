"""`firsthour bench`: measures this machine against the performance goals."""

from typing import Annotated

import typer

from firsthour.bench import run as bench_run

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("bench")
def bench(
    full: Annotated[bool, typer.Option("--full", help="Also run the long measurements.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help='Run only measurements with this text in the title, for example "many leads".'
        ),
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write the results as JSON to a file; - prints them.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if a goal is missed.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the time of a lead is spent instead.")] = False,
) -> None:
    """Measure this machine against the performance goals. This takes about six minutes.

    If FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP are set, the distributed profile is measured, in a new database and
    new topics.

    Example: firsthour bench --json figures.json
    """
    raise typer.Exit(
        bench_run.run(
            full=full,
            only=only,
            json=json,
            strict=strict,
            profile=profile,
        )
    )
