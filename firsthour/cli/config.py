"""`firsthour init` and `firsthour agreement check`: the three configuration files."""

from pathlib import Path
from typing import Annotated

import typer

from firsthour.runtime import package_files, settings
from firsthour.runtime.config import reading, source_secrets
from firsthour.runtime.config.reading import NAMES, ConfigError
from firsthour.runtime.terminal import BAD_INPUT, NO, AsJson, complain, fail, print_json, say
from services.notifier import channel_warnings


def write_examples(directory: Path, *, force: bool = False) -> list[Path]:
    """Write the three commented files; the names of those that stand in the way, in which case nothing was written."""
    targets = [directory / name for name in NAMES]
    there = [target for target in targets if target.exists()]
    if there and not force:
        return there
    directory.mkdir(parents=True, exist_ok=True)
    for target in targets:
        text = (package_files.examples() / target.name).read_text(encoding="utf-8")
        target.write_text(_own(text), encoding="utf-8")
    return []


def _own(text: str) -> str:
    """The example without the line that leads an editor to its schema, which lies elsewhere from here."""
    lines = text.splitlines(keepends=True)
    while lines and (lines[0].startswith("# yaml-language-server:") or lines[0].strip() == "#"):
        del lines[0]
    return "".join(lines)


def add_init(app: typer.Typer) -> None:
    """`init`."""

    @app.command()
    def init(
        directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them.")],
        force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    ) -> None:
        """Write agreement.yaml, team.yaml and sources.yaml, commented, to start from.

        Example: firsthour init config
        """
        try:
            there = write_examples(directory, force=force)
        except OSError as failed:
            fail(NO, f"{directory}: cannot be written ({failed.strerror}); name a directory that this user can write")
        if there:
            fail(NO, *(f"{path}: is there already" for path in there), "Nothing was written; --force writes over them.")
        for name in NAMES:
            say(f"wrote {directory / name}")
        say(f"Change them, then: firsthour agreement check {directory}")


def agreement() -> typer.Typer:
    """`agreement`."""
    commands = typer.Typer(help="The agreement between the two teams.", no_args_is_help=True)

    @commands.callback()
    def group() -> None:
        """The agreement between the two teams."""

    @commands.command()
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

    return commands
