"""Writes a configuration as lines that people compare: YAML with one rule on a line, and nothing left out."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import unified_diff
from itertools import islice
from typing import Any, Final, NamedTuple

WIDTH: Final = 110
LINES_MAX: Final = 4_000  # of a file that is compared
DIFFERENCES_MAX: Final = 500
CONTEXT: Final = 2
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./ -]*|([0-9]+[wdhms])+")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class LineChange(NamedTuple):
    """A line of a comparison. `sign`: `+` added, `-` removed, a space: unchanged, `@`: lines are left out here."""

    sign: str
    text: str


def yaml_lines(value: Any, indent: int = 0) -> Iterator[str]:
    """Yield a mapping or list as YAML: what fits on a line stands on one. Empty values are left out."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not _is_empty(item):
                yield from _entry(f"{pad}{_key(key)}:", item, indent + 1)
        return
    for item in value:
        if isinstance(item, Mapping) and not _fits(pad, item):
            lines = yaml_lines(item, indent + 1)
            yield f"{pad}- {next(lines, '').lstrip()}"
            yield from lines
        else:
            yield from _entry(f"{pad}-", item, indent + 1)


def _entry(start: str, item: Any, indent: int) -> Iterator[str]:
    if _fits(start, item):
        yield f"{start} {_flow(item)}"
        return
    yield start
    yield from yaml_lines(item, indent)


def _fits(start: str, item: Any) -> bool:
    return not isinstance(item, Mapping | list) or len(start) + len(_flow(item)) < WIDTH


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | list) and all(map(_is_empty, _parts(value))))


def _parts(value: Mapping[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        filled = (f"{_key(key)}: {_flow(item)}" for key, item in value.items() if not _is_empty(item))
        return "{" + ", ".join(filled) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS and value[-1] != " ":
        return value
    return json.dumps(value, ensure_ascii=False)


def differences(before: Any, after: Any) -> tuple[list[LineChange], bool]:
    """Return the lines that differ, with those around them, and whether these are all."""
    old, new = list(yaml_lines(before)), list(yaml_lines(after))
    complete = len(old) <= LINES_MAX and len(new) <= LINES_MAX
    found = list[LineChange]()
    compared = unified_diff(old[:LINES_MAX], new[:LINES_MAX], n=CONTEXT, lineterm="")
    for line in islice(compared, 2, None):  # the first two name the files
        found.append(LineChange("@", "") if line.startswith("@@") else LineChange(line[0], line[1:]))
    return found[:DIFFERENCES_MAX], complete and len(found) <= DIFFERENCES_MAX
