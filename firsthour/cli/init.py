"""`firsthour init`: writes examples of the three configuration files."""

import os
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
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to write them to.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write commented examples of the configuration files.

    They are agreement.yaml, team.yaml and sources.yaml.

    Example: firsthour init config
    """
    try:
        existing = write_examples(directory, force=force)
    except (FileExistsError, NotADirectoryError):
        places = (directory, *directory.parents)
        file = next((place for place in places if os.path.lexists(place) and not place.is_dir()), directory)
        fail(NO, f"{file}: is a file, not a directory; name a directory to write to")
    except IsADirectoryError as error:
        fail(NO, f"{error.filename}: is a directory, not a file; move it to another place")
    except OSError as error:
        fail(NO, f"{directory}: cannot be written ({error.strerror}); use a directory that this user can write")
    if existing:
        fail(NO, *(f"{path}: exists" for path in existing), "Nothing was written; --force overwrites the files.")
    for name in NAMES:
        say(f"wrote {directory / name}")
    say(f"Edit them, then run: firsthour agreement check {directory}")


def write_examples(directory: Path, *, force: bool = False) -> list[Path]:
    """Write the three files. Return the files that exist already: then, without `force`, nothing is written."""
    targets = [directory / name for name in NAMES]
    existing = [target for target in targets if target.exists()]
    if existing and not force:
        return existing
    directory.mkdir(parents=True, exist_ok=True)
    for target in targets:
        text = (package_files.examples() / target.name).read_text(encoding="utf-8")
        target.write_text(_without_schema_line(text), encoding="utf-8")
    return []


def _without_schema_line(text: str) -> str:
    """Return the example without the line that names its schema for editors: its path is relative to the example."""
    lines = text.splitlines(keepends=True)
    while lines and (lines[0].startswith("# yaml-language-server:") or lines[0].strip() == "#"):
        del lines[0]
    return "".join(lines)
