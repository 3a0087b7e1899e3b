"""`firsthour agreement`: checks the three configuration files, and counts the facts that their rules lack."""

from pathlib import Path
from typing import Annotated, Any

import typer

from firsthour.cli.installation import ask
from firsthour.runtime import settings
from firsthour.runtime.config import reading, source_secrets
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.http.errors import BAD_INPUT
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, complain, print_json, print_table, say
from services.notifier import channel_warnings, ways

app = typer.Typer(
    help="Configuration files: check; facts that their rules lack: missing.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def group() -> None:
    """Configuration files: check; facts that their rules lack: missing."""


@app.command()
def check(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="Directory of the three files. [default: FIRSTHOUR_CONFIG_DIR, else ./config]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check agreement.yaml, team.yaml and sources.yaml. Each mistake is shown with its line and column.

    Exit code 2 if there is a mistake.

    Example: firsthour agreement check config
    """
    config_dir = directory or settings.load().config_dir
    try:
        config = reading.load(config_dir)
        secrets = source_secrets.examine(config, settings.environ())
        if secrets.errors:
            raise ConfigError(secrets.errors)
    except ConfigError as error:
        if as_json:
            print_json(
                {
                    "ok": False,
                    "version": None,
                    "problems": [vars(problem) for problem in error.problems],
                    "warnings": [],
                }
            )
        else:
            complain(str(error).splitlines())
        raise typer.Exit(BAD_INPUT) from None
    channel_texts = [
        *channel_warnings.warnings(config, channel_warnings.set_up(settings.load())),
        *ways.problems(config, settings.environ(), settings.load()),
    ]
    warnings = [*config.warnings, *secrets.warnings, *channel_texts]
    if as_json:
        print_json({"ok": True, "version": config.version, "problems": [], "warnings": warnings})
        return
    for warning in warnings:
        say(f"warning: {warning}")
    reps, rules = len(config.team.reps), len(config.agreement.routing.rules)
    say(f"{config_dir} is correct: version {config.version}, {reps} reps, {rules} routing rules.")


@app.command()
def missing(
    leads: Annotated[int, typer.Option(help="Newest leads that are counted.", min=1, max=5_000)] = 1_000,
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Count the leads that lack a fact which a rule tests, for each rule. A test of a missing fact is false.

    Example: firsthour agreement missing
    """
    answer = ask("GET", f"/v1/agreement/missing-facts?leads={leads}", data, config, configured=True)
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        say(f"No rule lacks a fact of the newest {answer['leads']} leads.")
        return
    say(f"Of the newest {answer['leads']} leads, these lack a fact that a rule tests:")
    print_table(
        ("section", "rule", "leads", "missing"),
        ([one["section"], one["rule"], one["leads"], _fields(one)] for one in answer["items"]),
    )


def _fields(rule: dict[str, Any]) -> str:
    return ", ".join(f"{one['field']} ({one['leads']})" for one in rule["fields"])
