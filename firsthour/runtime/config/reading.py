"""Reads the three configuration files, checks them together, and puts changes in force.

Agreement, team and sources are in one directory. All mistakes are reported at once, each with line and column. While the
program runs, files with a mistake are not put in force: the previous version stays.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from firsthour.kernel.config import Config
from firsthour.kernel.printable import printable
from firsthour.runtime.config import (
    calendar_checks,
    checks,
    condition_checks,
    error_messages,
    presets,
    source_checks,
    team_places,
    warnings,
    yaml_source,
)
from firsthour.runtime.config.documents import ConfigDocuments, ConfigProblem, Document, SourcePosition, rows
from schemas.agreement.agreement import Agreement
from schemas.errors import FirstHourError
from schemas.sources import Sources
from schemas.team import Team
from schemas.verification import place_of

M = TypeVar("M", bound=BaseModel)

NAMES: Final = ("agreement.yaml", "team.yaml", "sources.yaml")
_SHOWN_MAX: Final = 50


class ConfigError(FirstHourError):
    """Raised for files that cannot be put in force. `problems`: every mistake, in the order of the files."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:_SHOWN_MAX]]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, f"... and {more} more"] if more else lines)


def _read(directory: Path) -> dict[str, bytes | ConfigProblem]:
    return {name: yaml_source.read(directory / name) for name in NAMES}


def _document(path: Path, raw: bytes | ConfigProblem) -> Document:
    if isinstance(raw, ConfigProblem):
        return Document(str(path), None, SourcePosition(), (raw,))
    return yaml_source.parse(raw, str(path))


def _model(document: Document, shape: type[M], mistakes: list[ConfigProblem]) -> M | None:
    """Return the file as `shape`, or None after a mistake. A top-level field without a value counts as absent."""
    mistakes += document.problems
    if document.data is None:
        return None
    try:
        return shape.model_validate({name: value for name, value in document.data.items() if value is not None})
    except ValidationError as failure:
        mistakes += error_messages.problems(document, shape, failure)
        return None


def _version(files: ConfigDocuments) -> str:
    """Return twelve hex digits of the content of the three files. They ignore comments and layout, but not order."""
    data = [files.agreement.data, files.team.data, files.sources.data]
    content = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _checked(directory: Path, raw: Mapping[str, bytes | ConfigProblem]) -> Config:
    """Return the configuration of these files. Raises `ConfigError`."""
    texts = [text for text in raw.values() if isinstance(text, bytes)]
    kept = len(texts) == len(NAMES) and sum(map(len, texts)) <= yaml_source.CACHED_CHARS_MAX
    found = (_content_once if kept else _content)(tuple(raw[name] for name in NAMES))
    if isinstance(found, Config):
        return _placed(directory, found)
    raise ConfigError(tuple(replace(one, file=str(directory / Path(one.file).name)) for one in found))


def _placed(directory: Path, config: Config) -> Config:
    """Return a configuration whose files are in this directory."""

    def place(name: str, line: int, column: int) -> tuple[str, int, int]:
        return str(directory / name), line, column

    before = printable(str(directory / "-"))[:-1]
    return replace(
        config,
        directory=directory,
        warnings=tuple(before + warning for warning in config.warnings),
        secret_places={name: place(*at) for name, at in config.secret_places.items()},
        channel_places={name: place(*at) for name, at in config.channel_places.items()},
    )


def _content(raw: tuple[bytes | ConfigProblem, ...]) -> Config | tuple[ConfigProblem, ...]:
    """Return the configuration of these texts, as if their files were in the directory of the process, or all mistakes."""
    files = ConfigDocuments(*(_document(Path(name), text) for name, text in zip(NAMES, raw, strict=True)))
    mistakes: list[ConfigProblem] = []
    agreement = _model(files.agreement, Agreement, mistakes)
    team = _model(files.team, Team, mistakes)
    sources = _model(files.sources, Sources, mistakes)
    places = dict(_expression_places(files.sources))
    if sources is not None:
        places |= presets.entry_places(sources)
        sources = presets.expanded(files.sources, sources, mistakes)
    mistakes += checks.problems(files)
    mistakes += calendar_checks.problems(files.agreement)
    mistakes += islice(condition_checks.problems(files), error_messages.PROBLEMS_MAX)
    if mistakes or agreement is None or team is None or sources is None:
        order = {name: index for index, name in enumerate(NAMES)}
        return tuple(sorted(set(mistakes), key=lambda problem: (order.get(Path(problem.file).name, 0), problem)))
    return Config(
        agreement,
        team,
        sources,
        _version(files),
        warnings.warnings(files),
        secret_places=dict(_secret_places(files.sources)),
        channel_places=dict(_channel_places(files.agreement, agreement)),
        expression_places=places,
        team_places=dict(team_places.places(files.team)),
    )


_content_once = lru_cache(maxsize=4)(_content)
"""A process reads the same texts several times: at its start, when they are applied, and for each command on the files."""


def _secret_places(document: Document) -> Iterator[tuple[tuple[int, str], tuple[str, int, int]]]:
    """Yield the place of each secret, by the index of the source and the words for the secret."""
    for source, row in rows(document, "sources"):
        verify = (*source, "verify")
        schemes = [loc for loc, _ in rows(document, *verify)] if isinstance(row.get("verify"), list) else [verify]
        for scheme in (*schemes, source):
            for loc, secret in rows(document, *scheme, "secrets"):
                words = place_of(secret.get("env"), secret.get("file"))
                yield (int(source[-1]), words), (document.file, *document.place.find(loc))
        fetch = row.get("fetch")
        token = fetch.get("token") if isinstance(fetch, Mapping) else None
        if isinstance(token, Mapping):
            words = place_of(token.get("env"), token.get("file"))
            yield (int(source[-1]), words), (document.file, *document.place.find((*source, "fetch", "token")))


def _expression_places(document: Document) -> Iterator[tuple[tuple[str, int, str], str]]:
    name = Path(document.file).name
    for source, row in rows(document, "sources"):
        for loc, mapping in rows(document, *source, "events"):
            for place, _ in source_checks.expressions(loc, mapping):
                line, column = document.place.find(place)
                yield (str(row.get("id")), int(loc[-1]), str(place[-1])), f"{name}:{line}:{column}"


def _channel_places(document: Document, agreement: Agreement) -> Iterator[tuple[str, tuple[str, int, int]]]:
    for name in agreement.channels:
        yield name, (document.file, *document.place.find(("channels", name), key=True))


def load(directory: Path) -> Config:
    """Return the configuration in `directory`. Raises `ConfigError` with all mistakes."""
    return _checked(directory, _read(directory))


def parse(raw: Mapping[str, bytes], directory: Path) -> Config:
    """Return the configuration of these texts. `directory`: the directory of the files. Raises `ConfigError`."""
    return _checked(directory, raw)


def _texts(raw: Mapping[str, bytes | ConfigProblem]) -> dict[str, bytes]:
    return {name: text for name, text in raw.items() if isinstance(text, bytes)}


class Configs(Protocol):
    """The source of the configuration in force."""

    @property
    def current(self) -> Config: ...

    @property
    def problem(self) -> ConfigError | None:
        """The mistakes of a newer configuration; None: there are none."""

    @property
    def texts(self) -> Mapping[str, bytes]:
        """The files in force as they were read, by name."""


class ConfigFiles:
    """The files in force. `current` changes only to files without mistakes; `problem` has the mistakes of newer files."""

    def __init__(self, directory: Path) -> None:
        """Read the files. Raises `ConfigError`."""
        self._directory = directory
        self._raw = _read(directory)
        self._new: Config | None = None
        self.current: Config = _checked(directory, self._raw)
        self.texts: Mapping[str, bytes] = _texts(self._raw)
        self.problem: ConfigError | None = None

    def look(self) -> Config | None:
        """Return the configuration of the files if it is new and has no mistakes; `take` puts it in force.

        Their bytes are compared, not their times: an edit within the resolution of the file system's clock counts too.
        """
        raw = _read(self._directory)
        if raw != self._raw:
            self._raw, self._new = raw, None
            try:
                config = _checked(self._directory, raw)
            except ConfigError as wrong:
                self.problem = wrong
                return None
            self.problem = None
            self._new = config if config != self.current else None
            if self._new is None:  # comments or layout have changed: the same content at other places
                self.current, self.texts = config, _texts(raw)
        return self._new

    def take(self, config: Config) -> None:
        """Put a configuration from `look` in force."""
        self.current = config
        if self._new is config:
            self._new, self.texts = None, _texts(self._raw)

    def refresh(self) -> bool:
        """Read the files, and put a change in force. Return whether there was one."""
        config = self.look()
        if config is not None:
            self.take(config)
        return config is not None
