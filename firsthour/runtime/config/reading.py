"""The three configuration files: read, checked together, and taken up again when they change.

Agreement, team and sources stand in one directory. Everything wrong in them is told at once, each at its line and
column; while running, files with a mistake leave what was in force before.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from firsthour.kernel.config import Config
from firsthour.runtime.config import checks, condition_checks, error_messages, warnings, yaml_source
from firsthour.runtime.config.checks import ConfigDocuments
from firsthour.runtime.config.yaml_source import ConfigProblem, Document, SourcePosition
from schemas.agreement.agreement import Agreement
from schemas.errors import FirstHourError
from schemas.sources import Sources
from schemas.team import Team

M = TypeVar("M", bound=BaseModel)

NAMES: Final = ("agreement.yaml", "team.yaml", "sources.yaml")
_SHOWN_MAX: Final = 50


class ConfigError(FirstHourError):
    """Files that cannot be put in force. `problems` holds every mistake found, in the order of the files."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:_SHOWN_MAX]]
        left = len(self.problems) - len(lines)
        return "\n".join([*lines, f"... and {left} more"] if left else lines)


def _read(directory: Path) -> dict[str, bytes | ConfigProblem]:
    return {name: yaml_source.read(directory / name) for name in NAMES}


def _document(path: Path, raw: bytes | ConfigProblem) -> Document:
    if isinstance(raw, ConfigProblem):
        return Document(str(path), None, SourcePosition(), (raw,))
    return yaml_source.parse(raw, str(path))


def _model(document: Document, shape: type[M], found: list[ConfigProblem]) -> M | None:
    """The file as `shape`. A field at the top with nothing behind it counts as left out: its entries are comments."""
    found += document.problems
    if document.data is None:
        return None
    try:
        return shape.model_validate({name: value for name, value in document.data.items() if value is not None})
    except ValidationError as refused:
        found += error_messages.problems(document, shape, refused)
        return None


def _version(files: ConfigDocuments) -> str:
    """Twelve hex digits of what the three files say; comments and layout do not count, order does."""
    data = [files.agreement.data, files.team.data, files.sources.data]
    said = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _checked(directory: Path, raw: Mapping[str, bytes | ConfigProblem]) -> Config:
    files = ConfigDocuments(*(_document(directory / name, raw[name]) for name in NAMES))
    found: list[ConfigProblem] = []
    agreement = _model(files.agreement, Agreement, found)
    team = _model(files.team, Team, found)
    sources = _model(files.sources, Sources, found)
    found += checks.problems(files)
    found += islice(condition_checks.problems(files), error_messages.PROBLEMS_MAX)
    if found or agreement is None or team is None or sources is None:
        order = {str(directory / name): index for index, name in enumerate(NAMES)}
        found = sorted(set(found), key=lambda problem: (order.get(problem.file, 0), problem))
        raise ConfigError(tuple(found))
    places = dict(_secret_places(files.sources))
    return Config(agreement, team, sources, _version(files), warnings.warnings(files), directory, places)


def _secret_places(document: Document) -> Iterator[tuple[tuple[int, int], tuple[str, int, int]]]:
    for source, _ in checks.rows(document, "sources"):
        for loc, _ in checks.rows(document, *source, "verify", "secrets"):
            yield (int(source[-1]), int(loc[-1])), (document.file, *document.place.find(loc))


def load(directory: Path) -> Config:
    """The configuration in `directory`. Raises `ConfigError` with everything that is wrong."""
    return _checked(directory, _read(directory))


def parse(raw: Mapping[str, bytes], directory: Path) -> Config:
    """The configuration that the texts of these files say; `directory` is where they came from. Raises `ConfigError`."""
    return _checked(directory, raw)


class Configs(Protocol):
    """Where the configuration in force is found."""

    @property
    def current(self) -> Config: ...

    @property
    def problem(self) -> ConfigError | None:
        """What is wrong with a newer one."""


class ConfigFiles:
    """The files in force. `current` only ever changes to files without a mistake; `problem` tells of newer ones with."""

    def __init__(self, directory: Path) -> None:
        """Raises `ConfigError` when there is nothing to start with."""
        self._directory = directory
        self._raw = _read(directory)
        self._new: Config | None = None
        self.current: Config = _checked(directory, self._raw)
        self.problem: ConfigError | None = None

    def look(self) -> Config | None:
        """What the files say, when that is new and without a mistake: it is not in force before `take`.

        Their bytes are compared, not their times: an edit within the grain of the file system's clock counts too.
        """
        raw = _read(self._directory)
        if raw != self._raw:
            self._raw, self._new = raw, None
            try:
                found = _checked(self._directory, raw)
            except ConfigError as wrong:
                self.problem = wrong
                return None
            self.problem = None
            self._new = found if found != self.current else None
        return self._new

    def take(self, found: Config) -> None:
        """Put in force what `look` found."""
        self.current = found
        if self._new is found:
            self._new = None

    def refresh(self) -> bool:
        """Look at the files, and take up what changed. True when something new came into force."""
        found = self.look()
        if found is not None:
            self.take(found)
        return found is not None
