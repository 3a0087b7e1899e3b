"""The places of reps, their absences and pools in the team file, for people who look for an entry."""

from collections.abc import Iterator
from pathlib import Path

from firsthour.runtime.config.documents import Document, rows
from schemas.values import Loc

TeamEntry = tuple[str | int, ...]
"""`("reps", id)`, `("reps", id, n)` for the absence number n of a rep, or `("pools", id)`."""


def places(document: Document) -> Iterator[tuple[TeamEntry, str]]:
    """Yield the place of each entry, such as `team.yaml:12:5`."""
    name = Path(document.file).name

    def place(loc: Loc) -> str:
        line, column = document.place.find(loc)
        return f"{name}:{line}:{column}"

    for section in ("reps", "pools"):
        for loc, row in rows(document, section):
            entry = (section, str(row.get("id")))
            yield entry, place(loc)
            for absence, _ in rows(document, *loc, "away"):
                yield (*entry, int(absence[-1])), place(absence)
