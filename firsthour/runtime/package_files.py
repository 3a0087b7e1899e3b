"""Where the files that travel with the program lie: the example configuration and the migrations.

A wheel carries them inside the package (`firsthour/_data`, see `force-include` in pyproject.toml); in the repository, and
so for an editable install, they are read from `deploy/`.
"""

from pathlib import Path

from schemas.errors import FirstHourError

_PROGRAM = Path(__file__).resolve().parents[1]
_PACKED = _PROGRAM / "_data"
_REPOSITORY = _PROGRAM.parent / "deploy"


class MissingFilesError(FirstHourError):
    """Files that belong to the program are not where it was installed."""


def examples() -> Path:
    """The directory of agreement.yaml, team.yaml and sources.yaml that `init` writes. Raises `MissingFilesError`."""
    return _folder("examples")


def migrations() -> Path:
    """The directory Alembic calls its script location (`env.py`, `versions/`). Raises `MissingFilesError`."""
    return _folder("migrations")


def _folder(name: str) -> Path:
    for place in (_PACKED / name, _REPOSITORY / name):
        if place.is_dir():
            return place
    raise MissingFilesError(
        f"{_PACKED / name}: not there, nor in {_REPOSITORY}; install FirstHour anew, from its wheel or its repository"
    )
