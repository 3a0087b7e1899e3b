"""Reads a YAML 1.2 file into plain values, with the line and column of each value.

This module builds the values from the node graph, without a loader of ruamel. So a key is always text (`on:`, `NO:`, `1:`
are words), and a date stays text. The number of values is limited, including the copies that anchors make. Every duplicate
key is reported.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scanner import Scanner

from firsthour.runtime.config import yaml_errors
from firsthour.runtime.config.documents import ConfigProblem, Document, SourcePosition

SIZE_MAX_BYTES: Final = 1 << 20
VALUES_MAX: Final = 100_000
CACHED_CHARS_MAX: Final = 128 * 1024
DEPTH_MAX: Final = 60
_TOO_DEEP: Final = f"the file is nested deeper than {DEPTH_MAX} levels"
_FLATTEN: Final = "use fewer levels"
_INIT: Final = "`firsthour init DIR` writes one to start from"

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,300}", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which no database and no message takes, and halves of characters. An escape can write them: `\\0`."""
_REORDERS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Marks that reorder the text around them: a reader would see another rule than the one in force, also by a comment."""
_NO_BREAKS: Final = dict.fromkeys((0x85, 0x2028, 0x2029), " ")
"""Line breaks of YAML 1.1 that are none in YAML 1.2 and in editors, where the lines after them would have other numbers."""
_REORDERS_SHOWN: Final = 20
_CORE = "tag:yaml.org,2002:"
_TAGS = frozenset(
    _CORE + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)


class _TooMuchError(Exception):
    """Raised for a file with too many values or too deep nesting."""

    def __init__(self, node: Node, mistake: str, remedy: str) -> None:
        self.node = node
        self.mistake = mistake
        self.remedy = remedy


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[ConfigProblem] = []
        self.values = 0

    def build(self, node: Node, depth: int = 0) -> tuple[Any, SourcePosition]:
        self.values += 1
        if self.values > VALUES_MAX:
            raise _TooMuchError(node, f"the file has more than {VALUES_MAX} values", "shorten it")
        if depth > DEPTH_MAX:
            raise _TooMuchError(node, _TOO_DEEP, _FLATTEN)
        place = SourcePosition(*_start(node))
        tag = str(node.tag or "")
        if tag and tag not in _TAGS:
            self.wrong(node, f"`{tag.replace(_CORE, '!!')}` is a YAML tag", "remove it")
        if isinstance(node, MappingNode):
            return self.mapping(node, place, depth), place
        if isinstance(node, SequenceNode):
            items = [self.build(item, depth + 1) for item in node.value]
            place.inside.update(enumerate(inside for _, inside in items))
            return [value for value, _ in items], place
        return self.scalar(node), place

    def mapping(self, node: MappingNode, place: SourcePosition, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.wrong(key, "a key is not a single word", "write `key: value`; put braces or brackets in quotes")
                continue
            name = self.name(key, value)
            if name is None:
                continue
            if name in data:
                first = place.keys[name][0]
                self.wrong(key, f"`{name}` occurs twice, first in line {first}", "keep one of them")
                continue
            data[name], inside = self.build(value, depth + 1)
            place.keys[name] = _start(key)
            # The parser places an empty value at the next word of the file.
            place.inside[name] = SourcePosition(*_after(key)) if _is_empty(value) else inside
        return data

    def name(self, key: ScalarNode, value: Node) -> str | None:
        """Return the name of a key. None: it is not a valid name, and a problem with the reason was added."""
        name = str(key.value)
        if forbidden := _FORBIDDEN.search(name):
            self.wrong(key, f"this name has the character U+{ord(forbidden[0]):04X}, which is no text", "remove it")
            return None
        if invisible := yaml_errors.invisible(name):
            line, column = _start(key)
            mistake = f"this name has an invisible character ({yaml_errors.named(invisible[0])})"
            self.problems.append(ConfigProblem(self.file, line, column + invisible.start(), mistake, "remove it"))
            return yaml_errors.visible(name)
        if _is_empty(value) and not key.style and ":" in name.strip(":"):
            self.wrong(key, f"the `:` in `{name[:60]}` has no space after it", "write `name: value`")
            return None
        return name

    def scalar(self, node: Node) -> object:
        text = str(node.value)
        if forbidden := None if text.isprintable() else _FORBIDDEN.search(text):
            self.wrong(node, f"this text has the character U+{ord(forbidden[0]):04X}, which is no text", "remove it")
            return _FORBIDDEN.sub("", text)
        if not isinstance(node, ScalarNode) or node.style or str(node.tag) == _CORE + "str":
            return text
        return _plain(text)

    def wrong(self, node: Node, mistake: str, remedy: str) -> None:
        self.problems.append(ConfigProblem(self.file, *_start(node), mistake, remedy))


def _plain(text: str) -> object:
    """Return the value of an unquoted scalar by the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.lower().replace(".", "", 1)) if _INFINITE.fullmatch(text) else text


def _start(node: Node) -> tuple[int, int]:
    mark = node.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _after(key: Node) -> tuple[int, int]:
    """Return the position after the colon of a key."""
    mark = key.end_mark
    return (mark.line + 1, mark.column + 2) if mark else _start(key)


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and not node.style and not node.value


def _decoded(raw: bytes, file: str) -> str | ConfigProblem:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        before = raw[: failure.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        return ConfigProblem(
            file, line, column, f"byte {raw[failure.start]:#04x} is not UTF-8", "save the file as UTF-8"
        )


def _reordering(text: str, file: str) -> Iterator[ConfigProblem]:
    for match in islice(_REORDERS.finditer(text) if not text.isascii() else (), _REORDERS_SHOWN):
        before = text[: match.start()]
        mistake = f"the character U+{ord(match[0]):04X} here changes the order in which the line is shown"
        yield ConfigProblem(
            file,
            before.count("\n") + 1,
            len(before) - before.rfind("\n"),
            mistake,
            "remove it; the text beside it stays",
        )


def _syntax(error: YAMLError, text: str, file: str) -> ConfigProblem:
    """Return the problem that an error of the YAML parser reports."""
    if isinstance(error, MaxDepthExceededError) and error.problem_mark is not None:
        mark = error.problem_mark
        return ConfigProblem(file, mark.line + 1, mark.column + 1, _TOO_DEEP, _FLATTEN)
    fault = yaml_errors.explained(error, text)
    return ConfigProblem(file, fault.line, fault.column, fault.mistake, fault.remedy)


class _Scanner(Scanner):
    """A scanner with its own bound for nesting. It reads far ahead of the composer, so the bound of the composer is too late:
    the scanner would already have spent time quadratic in the depth."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803  # ruamel's name
        if len(self.flow_context) >= DEPTH_MAX:
            raise MaxDepthExceededError(None, None, _TOO_DEEP, self.reader.get_mark())
        super().fetch_flow_collection_start(TokenClass, to_push)


def _reader() -> YAML:
    reader = YAML(typ="safe", pure=True)
    reader.Scanner = _Scanner
    reader.max_depth = DEPTH_MAX + 1
    reader.composer.warn_double_anchors = False  # YAML allows it; the warning would go to standard error
    return reader


def _compose(text: str) -> Node | None:
    return _reader().compose(text)  # type: ignore[no-any-return]  # ruamel has no types


_compose_once = lru_cache(maxsize=8)(_compose)
"""Composing takes most of the time of reading. Texts repeat: an edit changes only one of the three files, and `apply` reads a
version before it is put in force. Texts longer than `CACHED_CHARS_MAX` are not cached."""


def parse(raw: bytes, file: str) -> Document:
    """Return the document in `raw`. `file`: its name in problems. Never raises for invalid content."""

    def without_data(problem: ConfigProblem) -> Document:
        return Document(file, None, SourcePosition(), (problem,))

    if len(raw) > SIZE_MAX_BYTES:
        return without_data(ConfigProblem(file, 1, 1, "the file is larger than 1 MiB", "shorten it"))
    text = _decoded(raw, file)
    if isinstance(text, ConfigProblem):
        return without_data(text)
    builder = _Builder(file)
    builder.problems += _reordering(text, file)
    text = text.translate(_NO_BREAKS)
    try:
        root = (_compose_once if len(text) <= CACHED_CHARS_MAX else _compose)(text)
        data, place = builder.build(root) if root is not None else (None, SourcePosition())
    except YAMLError as error:
        return without_data(_syntax(error, text, file))
    except _TooMuchError as excess:
        return without_data(ConfigProblem(file, *_start(excess.node), excess.mistake, excess.remedy))
    if data is None:
        return without_data(ConfigProblem(file, 1, 1, "the file is empty", _INIT))
    if not isinstance(data, dict):
        return without_data(
            ConfigProblem(
                file, place.line, place.column, "the file is not a mapping", "begin with `field: value` lines"
            )
        )
    return Document(file, data, place, tuple(builder.problems))


def read(path: Path) -> bytes | ConfigProblem:
    """Return the bytes of a configuration file; of a file that is too large, one byte more than `SIZE_MAX_BYTES`."""
    try:
        with path.open("rb") as stream:
            return stream.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        return ConfigProblem(str(path), 1, 1, "there is no such file", _INIT)
    except OSError as failure:
        mistake = f"the file cannot be read ({failure.strerror})"
        return ConfigProblem(str(path), 1, 1, mistake, "check that it is a regular file, and its permissions")
