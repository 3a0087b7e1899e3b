"""The style and the script of the console, served from its own origin under names that change with their content."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
PATH: Final = "/console/static/{name}"


@dataclass(frozen=True)
class StaticFile:
    """A file with its content type. `name`: with the hash of the content."""

    name: str
    content: bytes
    content_type: str

    @property
    def url(self) -> str:
        return PATH.format(name=self.name)


@cache
def static_files() -> dict[str, StaticFile]:
    """Return the files by the name in the folder."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix[1:] in _TYPES}


@cache
def by_name() -> dict[str, StaticFile]:
    """Return the files by the name in their URL."""
    return {file.name: file for file in static_files().values()}


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = sha256(content).hexdigest()[:16]
    return StaticFile(f"{path.stem}.{digest}{path.suffix}", content, _TYPES[path.suffix[1:]])
