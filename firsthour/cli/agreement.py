"""`firsthour agreement check`: whether the three configuration files can be put in force."""

from pathlib import Path
from typing import Annotated

import typer

from firsthour.runtime import settings
from firsthour.runtime.config import reading, source_secrets
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.http.errors import BAD_INPUT
from firsthour.runtime.terminal import AsJson, complain, print_json, say
from services.notifier import channel_warnings

app = typer.Typer(
    help="The agreement between the two teams.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def group() -> None:
    """The agreement between the two teams."""


@app.command()
def check(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="Where the three files are. [default: FIRSTHOUR_CONFIG_DIR, else ./config]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with the three files, each mistake with its line and column.

    Example: firsthour agreement check config
    """
    place = directory or settings.load().config_dir
    try:
        loaded = reading.load(place)
        secrets = source_secrets.examine(loaded, settings.environ())
        if secrets.errors:
            raise ConfigError(secrets.errors)
    except ConfigError as wrong:
        if as_json:
            print_json(
                {"ok": False, "version": None, "problems": [vars(one) for one in wrong.problems], "warnings": []}
            )
        else:
            complain(str(wrong).splitlines())
        raise typer.Exit(BAD_INPUT) from None
    unusable = channel_warnings.warnings(loaded, channel_warnings.set_up(settings.load()))
    warnings = [*loaded.warnings, *secrets.warnings, *unusable]
    if as_json:
        print_json({"ok": True, "version": loaded.version, "problems": [], "warnings": warnings})
        return
    for warning in warnings:
        say(f"warning: {warning}")
    reps, rules = len(loaded.team.reps), len(loaded.agreement.routing.rules)
    say(f"{place} can be put in force: version {loaded.version}, {reps} reps, {rules} routing rules.")
