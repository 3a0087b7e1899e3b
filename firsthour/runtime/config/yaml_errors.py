"""Explains why a file is not YAML, at the position of the mistake. The parser usually reports a later position.

An open quote includes all lines up to the next quote. A missing colon joins its line to the next one. An invisible space is
part of a word. This module searches backwards from the position that the parser reports.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.tokens import ScalarToken

_BACK: Final = 3  # lines before the one that the parser reports
_INVISIBLE = re.compile(
    "[\u00a0\u00ad\u034f\u115f\u1160\u1680\u180e\u2000-\u200f\u202f\u205f\u2060-\u2064\u3000\u3164\ufeff\uffa0]"
)
_BREAK = re.compile(r"\r\n|\r|\n")
_STRUCTURE = re.compile(r"^[\s\-?]*")  # before the first word of a line
_NO_BLANK = re.compile(r"^[\s\-]*[\w.-]+(:)(?=[^\s:/])")  # `name:value`
_WIDE_COLON = re.compile("^[\\s\\-]*[\\w.-]+([\uff1a\ufe55\ua789])")
_NO_COLON = re.compile(r"^[\s\-]*([\w.-]+)(\s|$)")
_OPENS = re.compile(r"^[\s\-]*([\w.-]+) +[\[{]")  # `name {`
_HAS_VALUE = re.compile(r"^[\s\-]*[^\s:#][^:#]*:(\s|$)")


@dataclass(frozen=True)
class YamlMistake:
    """A mistake, its place and its remedy. Lines and columns count from 1."""

    line: int
    column: int
    mistake: str
    remedy: str


def invisible(text: str) -> re.Match[str] | None:
    """Return the first invisible character other than a plain space."""
    return None if text.isascii() else _INVISIBLE.search(text)


def visible(text: str) -> str:
    """Return the text without invisible characters."""
    return _INVISIBLE.sub("", text)


def named(character: str) -> str:
    """Return the name of an invisible character in messages: `U+00A0, no-break space`."""
    return f"U+{ord(character):04X}, {unicodedata.name(character, 'without a name').lower()}"


def explained(broken: YAMLError, text: str) -> YamlMistake:
    """Return the mistake behind an error of the parser. `text`: the whole file."""
    if not isinstance(broken, MarkedYAMLError):
        position = getattr(broken, "position", 0) or 0
        before = text[:position]
        column = position - before.rfind("\n")
        return YamlMistake(
            before.count("\n") + 1,
            column,
            "a control character is not allowed here",
            "remove it, or write it as an escape",
        )
    mark = broken.problem_mark or broken.context_mark
    at = (mark.line, mark.column) if mark else (0, 0)
    lines = _BREAK.split(text)
    lines += [""] * (at[0] + 2 - len(lines))  # YAML 1.1 counts more line breaks than these
    for look in (_unseen, _open_quote, _colon, _bracket, _quoted_wrong):
        mistake = look(broken, text, lines, *at)
        if mistake is not None:
            return mistake
    return _as_reported(broken, *at)


def _unseen(broken: MarkedYAMLError, text: str, lines: list[str], line: int, _: int) -> YamlMistake | None:
    """Return an invisible character before the first word of a line, or beside its colon."""
    for number in range(max(0, line - _BACK), min(line + 1, len(lines))):
        for match in _INVISIBLE.finditer(lines[number].partition(" #")[0]) if not lines[number].isascii() else ():
            before, after = lines[number][: match.start()], lines[number][match.end() :]
            lead = not before.strip(" -?\t")
            beside = before.rstrip().endswith((":", "[", "{", ",")) or after.lstrip().startswith(":")
            if lead or beside:
                mistake = f"there is an invisible character here ({named(match[0])})"
                return YamlMistake(number + 1, match.start() + 1, mistake, "write a plain space, or remove it")
    return None


def _open_quote(broken: MarkedYAMLError, text: str, lines: list[str], line: int, _: int) -> YamlMistake | None:
    """Return a quote that is not closed on its line. The parser fails at the end of the file, or after the next quote."""
    start = broken.context_mark
    if start is not None and "quoted scalar" in str(broken.context) and "end of stream" in str(broken.problem):
        return _not_closed(start.line, start.column, lines)
    for token in reversed(list(_long_quotes(text))):
        if token.start_mark.line < token.end_mark.line == line:
            return _not_closed(token.start_mark.line, token.start_mark.column, lines)
    return None


def _not_closed(line: int, column: int, lines: list[str]) -> YamlMistake:
    quote = lines[line][column : column + 1] if line < len(lines) else '"'
    return YamlMistake(
        line + 1,
        column + 1,
        f"the quote `{quote}` is not closed on this line",
        f"add `{quote}` at its end, or remove it",
    )


def _long_quotes(text: str) -> Iterator[Any]:
    """Yield the quoted scalars over several lines, up to the position at which the scanner fails."""
    try:
        for token in YAML(typ="safe", pure=True).scan(text):
            if isinstance(token, ScalarToken) and token.style and token.style in "\"'":
                yield token
    except YAMLError:
        return


def _colon(broken: MarkedYAMLError, text: str, lines: list[str], line: int, column: int) -> YamlMistake | None:
    """Return a colon that is missing, superfluous, or without its space."""
    message = str(broken.problem)
    if "could not find expected ':'" in message and broken.context_mark is not None:
        return _colon_missing(lines, broken.context_mark.line)
    if "mapping values are not allowed" not in message:
        return None
    if _HAS_VALUE.match(lines[line][:column] + " ") and ": " in lines[line][:column]:
        return YamlMistake(line + 1, column + 1, "this line has a second `:`", "put the value in quotes")
    above = next(
        (n for n in range(line - 1, -1, -1) if lines[n].strip() and not lines[n].lstrip().startswith("#")), None
    )
    if above is None or _HAS_VALUE.match(lines[above]):
        first = len(lines[line]) - len(lines[line].lstrip()) + 1
        return YamlMistake(
            line + 1,
            first,
            "this line is indented further than the lines above",
            "indent the fields of a mapping alike",
        )
    return _colon_missing(lines, above)


def _colon_missing(lines: list[str], line: int) -> YamlMistake:
    text = lines[line]
    for pattern, mistake, remedy in (
        (_NO_BLANK, "this `:` has no space after it", "write `name: value`"),
        (_WIDE_COLON, "this is not the colon of YAML", "write a plain `:` and a space"),
    ):
        if match := pattern.match(text):
            return YamlMistake(line + 1, match.start(1) + 1, mistake, remedy)
    match = _NO_COLON.match(text)
    first = match.start(1) if match else _STRUCTURE.match(text).end()  # type: ignore[union-attr]  # matches any line
    name = match[1] if match else "name"
    return YamlMistake(line + 1, first + 1, f"the colon after `{name}` is missing", f"write `{name}: ...`")


def _bracket(broken: MarkedYAMLError, text: str, lines: list[str], line: int, column: int) -> YamlMistake | None:
    """Return a bracket or brace that is opened on an earlier line, or closed without being open."""
    start, message = broken.context_mark, str(broken.problem)
    flow = "flow sequence" in str(broken.context) or "flow mapping" in str(broken.context)
    if flow and start is not None and start.line < line:
        opened = lines[start.line][start.column : start.column + 1]
        closed = "]" if opened == "[" else "}"
        return YamlMistake(start.line + 1, start.column + 1, f"`{opened}` is not closed", f"add `{closed}`")
    if ("found '}'" in message or "found ']'" in message) and (match := _OPENS.match(lines[line])):
        return YamlMistake(
            line + 1, match.end(1) + 1, f"the colon after `{match[1]}` is missing", f"write `{match[1]}: ...`"
        )
    return None


def _quoted_wrong(broken: MarkedYAMLError, text: str, lines: list[str], line: int, column: int) -> YamlMistake | None:
    """Return a character with a meaning in YAML, text after a closing quote, or wrong indentation."""
    message = str(broken.problem)
    if "'\\t'" in message:
        return YamlMistake(line + 1, column + 1, "a tab is not allowed here", "indent with spaces")
    if "cannot start any token" in message or "undefined alias" in message:
        character = lines[line][column : column + 1]
        return YamlMistake(line + 1, column + 1, f"a value cannot begin with `{character}`", "put the value in quotes")
    if "found '<scalar>'" in message and lines[line][:column].rstrip().endswith(("'", '"')):
        return YamlMistake(line + 1, column + 1, "text follows the closing quote", "put the whole value in quotes")
    if "<block mapping start>" in message or "<block sequence start>" in message:
        return YamlMistake(
            line + 1,
            column + 1,
            "this line is not indented like the lines above",
            "indent the fields of a mapping alike",
        )
    return None


def _as_reported(broken: MarkedYAMLError, line: int, column: int) -> YamlMistake:
    mistake = " ".join(str(part) for part in (broken.context, broken.problem) if part)
    remedy = "check this line and the previous one: indentation, a missing `:` or `,`, an unclosed bracket or quote"
    if "single document" in mistake:
        remedy = "keep one document; remove the line `---`"
    return YamlMistake(line + 1, column + 1, f"this is not YAML: {mistake}", remedy)
