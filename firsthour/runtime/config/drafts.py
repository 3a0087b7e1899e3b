"""Checks a draft of the configuration files beside those in force, without changing anything."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from firsthour.kernel.printable import printable
from firsthour.runtime.config import reading
from firsthour.runtime.config.reading import ConfigError

FINDINGS_MAX: Final = 100
TEXT_CHARS_MAX: Final = 1_000
_WARNING = re.compile(r"([^:]+):(\d+):(\d+): (.*)", re.DOTALL)


class DraftFinding(NamedTuple):
    """A mistake or warning at its place. A mistake keeps the draft from coming into force."""

    kind: Literal["mistake", "warning"]
    file: str
    line: int
    column: int
    text: str
    remedy: str = ""


class DraftReport(NamedTuple):
    """The result of a check. `version`: the one that the draft would have; None: it has mistakes. `more`: findings left out."""

    version: str | None
    findings: tuple[DraftFinding, ...]
    more: int


def examine(draft: Mapping[str, str], in_force: Mapping[str, bytes]) -> DraftReport:
    """Return the findings of these files, by name. The files that the draft leaves out are those in force."""
    texts = {**in_force, **{name: text.encode("utf-8", "surrogatepass") for name, text in draft.items()}}
    version, found = None, list[DraftFinding]()
    try:
        config = reading.parse(texts, Path())
    except ConfigError as error:
        found += (
            DraftFinding("mistake", one.file, one.line, one.column, _short(one.mistake), _short(one.remedy))
            for one in error.problems
        )
    else:
        version = config.version
        found += _warnings(config.warnings)
    return DraftReport(version, tuple(found[:FINDINGS_MAX]), max(0, len(found) - FINDINGS_MAX))


def _warnings(warnings: tuple[str, ...]) -> Iterator[DraftFinding]:
    for warning in warnings:
        match = _WARNING.fullmatch(warning)
        file, line, column, text = match.groups() if match else (reading.NAMES[0], "1", "1", warning)
        yield DraftFinding("warning", file, int(line), int(column), _short(text))


def _short(text: str) -> str:
    return printable(text[:TEXT_CHARS_MAX])
