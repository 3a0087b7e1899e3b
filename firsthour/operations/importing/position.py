"""The position of an import, stored durably beside its file, so that it continues after a kill."""

import os
from pathlib import Path
from typing import Final

import msgspec

SUFFIX: Final = ".import"


class ImportPosition(msgspec.Struct, frozen=True):
    """How far an import is.

    `plan`: a digest of the file and of all options. An import of another plan begins at the first row. `rows`: handled.
    `rejected_file`: the name of the file of rejected rows; `rejected_bytes`: its size. `left_out`: leads that no row changed.
    """

    plan: str
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_file: str = ""
    rejected_bytes: int = 0
    left_out: int = 0


def place_of(file: Path) -> Path:
    """Return the file of the position."""
    return file.with_name(file.name + SUFFIX)


def load(file: Path, plan: str) -> ImportPosition:
    """Return the stored position of this plan, else the first row."""
    try:
        position = msgspec.json.decode(place_of(file).read_bytes(), type=ImportPosition)
    except (OSError, msgspec.DecodeError):
        return ImportPosition(plan)
    return position if position.plan == plan else ImportPosition(plan)


def store(file: Path, position: ImportPosition) -> None:
    """Store the position: completely or not at all, and on the disk before this returns."""
    place = place_of(file)
    new = place.with_name(place.name + ".new")
    with new.open("wb") as out:
        out.write(msgspec.json.encode(position))
        out.flush()
        os.fsync(out.fileno())
    new.replace(place)


def remove(file: Path) -> None:
    """Remove the position of an import that is done."""
    place_of(file).unlink(missing_ok=True)
