"""The directories of files that belong to the program: the example configuration and the migrations.

A wheel contains them in the package (`firsthour/_data`, see `force-include` in pyproject.toml). In the repository, and for
an editable install, they are in `deploy/`.
"""

from pathlib import Path

from schemas.errors import FirstHourError

_PROGRAM = Path(__file__).resolve().parents[1]
_PACKED = _PROGRAM / "_data"
_REPOSITORY = _PROGRAM.parent / "deploy"


class MissingFilesError(FirstHourError):
    """Raised when files of the program are missing from its installation."""


def examples() -> Path:
    """Return the directory of the three files that `init` writes. Raises `MissingFilesError`."""
    return _folder("examples")


def migrations() -> Path:
    """Return the script location of Alembic (`env.py`, `versions/`). Raises `MissingFilesError`."""
    return _folder("migrations")


def _folder(name: str) -> Path:
    for place in (_PACKED / name, _REPOSITORY / name):
        if place.is_dir():
            return place
    raise MissingFilesError(
        f"{_PACKED / name}: not there, nor in {_REPOSITORY}; install FirstHour anew, from its wheel or its repository"
    )
