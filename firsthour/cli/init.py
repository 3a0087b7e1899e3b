"""`firsthour init`: writes the three configuration files, to start from."""

from pathlib import Path
from typing import Annotated

import typer

from firsthour.runtime import package_files
from firsthour.runtime.config.reading import NAMES
from firsthour.runtime.http.errors import NO
from firsthour.runtime.terminal import fail, say

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("init")
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
