"""`firsthour bench`: measures this machine against the goals."""

from typing import Annotated

import typer

from firsthour.bench import run as bench_run

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("bench")
def bench(
    full: Annotated[bool, typer.Option("--full", help="Also what takes longer.")] = False,
    only: Annotated[
        str | None, typer.Option(metavar="TEXT", help='What has this in its title, as "many leads".')
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write the figures as JSON; - prints them.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a goal is missed.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Over Kafka and PostgreSQL: also say where the time goes.")
    ] = False,
) -> None:
    """Measure this machine against the goals, in about three minutes.

    With FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP it measures that profile, in a database and topics of its own.

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
