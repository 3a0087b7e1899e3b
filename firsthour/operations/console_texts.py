"""Writes `services/console/locales/console.pot`, which lists all texts of the console for translators. Part of `make schemas`.

A new language is a copy of this file, `services/console/locales/de.po`, with its translations: programs such as Poedit open it.
"""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from services.console.catalogue import FOLDER, TEMPLATE

_SOURCES: Final = FOLDER.parent
_METHODS: Final = (("**.py", "python"), ("templates/**.html", "jinja2"))
_OPTIONS: Final = {"templates/**.html": {"newstyle_gettext": "true", "trimmed": "false", "silent": "false"}}
_UNSTABLE: Final = (b'"POT-Creation-Date', b'"PO-Revision-Date', b'"Generated-By')
"""Lines of the head that change although no text does."""


def texts() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Yield each text with the file that has it, by file and line."""
    for file, _, text, _, _ in extract_from_dir(_SOURCES, _METHODS, _OPTIONS):
        yield Path(file).as_posix(), text


def template() -> bytes:
    """Return the content of the file."""
    catalogue = Catalog(project="FirstHour", header_comment="# The texts of the FirstHour console.", fuzzy=False)
    for file, text in texts():
        catalogue.add(text, locations=[(file, 0)])
    written = BytesIO()
    write_po(written, catalogue, width=120, include_lineno=False, sort_by_file=True)
    lines = written.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(_UNSTABLE))


def main() -> None:
    """Write the file if it differs."""
    content = template()
    if not TEMPLATE.exists() or TEMPLATE.read_bytes() != content:
        TEMPLATE.parent.mkdir(exist_ok=True)
        TEMPLATE.write_bytes(content)
        sys.stdout.write(f"wrote {TEMPLATE.relative_to(_SOURCES.parents[1])}\n")


if __name__ == "__main__":
    main()
