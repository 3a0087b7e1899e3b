"""Turns errors of pydantic about a configuration file into mistakes with remedies."""

import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from firsthour.runtime.config.documents import ConfigProblem, Document
from firsthour.runtime.value_faults import bounds, expected_words
from schemas.agreement.custom_fields import NAME_PATTERN
from schemas.agreement.response import CHANNEL_PATTERN
from schemas.values import EMAIL_PATTERN, ID_PATTERN, did_you_mean, quoted, shown

PROBLEMS_MAX: Final = 200
"""Mistakes per file at most. The others appear when these are corrected."""

Alternatives = list[tuple[str | None, Any]]
"""Types that a value may have, each with the tag of its alternative."""


def _unwrapped(kind: Any, tag: str | None = None) -> Iterator[tuple[str | None, Any]]:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *marks = get_args(kind)
        tag = next((mark.tag for mark in marks if isinstance(mark, Tag)), tag)
        yield from _unwrapped(inner, tag)
    elif origin in (Union, types.UnionType):
        for alternative in get_args(kind):
            yield from _unwrapped(alternative, tag)
    else:
        yield tag, kind


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _chosen_by(model: type[BaseModel], step: str | int) -> bool:
    return any(get_origin(kind) is Literal and step in get_args(kind) for kind in _fields(model).values())


def _below(alternatives: Alternatives, step: str | int) -> Alternatives:
    """Return the alternatives one step further down a location."""
    tagged: Alternatives = [(None, kind) for tag, kind in alternatives if tag is not None and tag == step]
    if tagged:
        return tagged
    inner_types: Alternatives = []
    for _, kind in alternatives:
        if _is_model(kind):
            extra = (
                get_type_hints(kind).get("__pydantic_extra__") if kind.model_config.get("extra") == "allow" else None
            )
            inner = _fields(kind).get(str(step), get_args(extra)[1] if extra else None)
            inner_types += _unwrapped(inner) if inner is not None else []
        elif (origin := _origin(kind)) is tuple and isinstance(step, int):
            inner_types += _unwrapped(get_args(kind)[0])
        elif origin is dict:
            inner_types += _unwrapped(get_args(kind)[1])
    if inner_types:
        return inner_types
    return [(tag, kind) for tag, kind in alternatives if _is_model(kind) and _chosen_by(kind, step)] or alternatives


def fields_at(root: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Return the names of the fields that the mapping at `loc` may have."""
    alternatives: Alternatives = [(None, root)]
    for step in loc:
        alternatives = _below(alternatives, step)
    names = [name for _, kind in alternatives if _is_model(kind) for name in _fields(kind)]
    return list(dict.fromkeys(names))


_AS_EXAMPLES: Final = "write it as in the commented examples of `firsthour init DIR`"
_PATTERNS: Final[Mapping[str, str]] = {
    ID_PATTERN: "write letters, digits, `.`, `_` and `-`, beginning with a letter or digit, 64 at most",
    NAME_PATTERN: "write the name alone, such as `seats`: letters, digits, `_`, `-` and `.`, 64 at most",
    CHANNEL_PATTERN: 'write the name of a Slack channel, such as "#inbound", or its id, such as C012AB3CD',
    EMAIL_PATTERN: "write an address such as ana@example.com",
    r"^[ -~]*$": "write printable ASCII on one line",
    r"^[A-Za-z0-9._-]{1,30}$": "write the version as the vendor does, such as v25.0, 202607 or 2026-09",
    r"^[A-Z]{3}$": "write a currency of three capitals, such as EUR",
    r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$": "write a country such as DE, or a part of it such as DE-BE",
    r"^\d{4}(-(Q[1-4]|0[1-9]|1[0-2]))?$": "write a year, a quarter or a month, such as 2026, 2026-Q4 or 2026-11",
    r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$": "write the name of an HTTP header, such as X-Signature",
    r"^[a-z]+/[a-z0-9.+-]+(; ?charset=utf-8)?$": "write a media type, such as text/xml",
    r"\S": "write the name of a field of theirs, which is not blank",
    r"^[^:]*$": "remove the colon, which ends a user name",
    r"^[A-Za-z0-9_.-]{1,50}$": "write the name of a field or parameter, such as `v1` or `token`",
    r"^[A-Za-z_][A-Za-z0-9_-]{0,99}(\.[A-Za-z_][A-Za-z0-9_-]{0,99}){0,5}$": "write names with dots, such as `auth.key`",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "write the name of an environment variable, such as PARTNER_SECRET",
    r"^[^\s@/:]+\.[^\s@/:.]+$": "write a domain alone, such as acme.com",
    r"^[A-Z0-9]{2,30}$": "write the Slack member id, such as U012AB3CD (profile, three dots, copy member ID)",
}


def _bounds(error: ErrorDetails, value: str) -> tuple[str, str]:
    return f"{value} is out of range", bounds(error)


def _literal(error: ErrorDetails, value: str) -> tuple[str, str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    if quoted(error["input"]) and expected == error["input"]:
        return f"{value} in quotes is text", "remove the quotes"
    words = expected_words(expected)
    word = error["input"] if isinstance(error["input"], str) else ""
    return f"{value} is not allowed here", did_you_mean(word, words) if words else f"write {expected}"


def _length(error: ErrorDetails, value: str) -> tuple[str, str]:
    context = error.get("ctx", {})
    if "max_length" in context:
        return "this is too long", f"keep it within {context['max_length']}"
    return "this is empty", "give at least one"


def _pattern(error: ErrorDetails, value: str) -> tuple[str, str]:
    pattern = str(error.get("ctx", {}).get("pattern", ""))
    return f"{value} has the wrong form", _PATTERNS.get(pattern, _AS_EXAMPLES)


def _unquoted(error: ErrorDetails, mistake: str, remedy: str) -> tuple[str, str]:
    """Return the mistake of a value that would be valid without its quotes; otherwise the arguments."""
    value = error["input"]
    return (f"{shown(value)} in quotes is text", "remove the quotes") if quoted(value) else (mistake, remedy)


def _alternative(error: ErrorDetails, value: str) -> tuple[str, str]:
    context = error.get("ctx", {})
    name = str(context.get("discriminator", "")).strip("'")
    if "tag" not in context:
        return f"`{name}` is missing", f"add `{name}:`"
    tags = expected_words(str(context.get("expected_tags", "")))
    return f"{shown(context['tag'])} is not a {name}", did_you_mean(str(context["tag"]), tags)


_WORDS: Final[Mapping[str, Callable[[ErrorDetails, str], tuple[str, str]]]] = {
    "string_type": lambda error, value: (
        f"{value} is not text",
        "write one text" if isinstance(error["input"], list | dict) else "put it in quotes",
    ),
    "int_type": lambda error, value: _unquoted(error, f"{value} is not a whole number", "write digits, such as `3`"),
    "bool_type": lambda error, value: _unquoted(error, f"{value} is neither true nor false", "write true or false"),
    "tuple_type": lambda _, value: (f"{value} is not a list", "write `[...]`, or one entry per line after `- `"),
    "dict_type": lambda _, value: (f"{value} is not a mapping", "write `name: value` lines, indented"),
    "literal_error": _literal,
    "too_short": _length,
    "too_long": _length,
    "string_too_short": _length,
    "string_too_long": _length,
    "string_pattern_mismatch": _pattern,
    "greater_than": _bounds,
    "greater_than_equal": _bounds,
    "less_than": _bounds,
    "less_than_equal": _bounds,
    "union_tag_invalid": _alternative,
    "union_tag_not_found": _alternative,
}


def _message(error: ErrorDetails, root: type[BaseModel]) -> tuple[str, str]:
    """Return the mistake and its remedy."""
    kind, loc = error["type"], error["loc"]
    name = str(loc[-1]) if loc else ""
    if kind == "wrong":
        mistake, _, remedy = error["msg"].partition("; ")
        context = error.get("ctx", {})
        return str(context.get("mistake", mistake)), str(context.get("remedy", remedy))
    if kind == "missing":
        return f"`{name}` is missing", f"add `{name}:`"
    if kind == "extra_forbidden":
        return _extra(name, root, loc)
    value = "this value" if "secrets" in loc else shown(error["input"])
    if kind in ("model_type", "model_attributes_type"):
        suggestion = did_you_mean(name, fields_at(root, loc[:-1])) if "secrets" not in loc else ""
        if suggestion.startswith("did you mean") and f"`{name}`" not in suggestion:
            return f"{shown(name)} is not a field here", suggestion
        return f"{value} is not a mapping", "it takes the fields " + ", ".join(fields_at(root, loc))
    if kind in _WORDS:
        return _WORDS[kind](error, value)
    if kind.startswith("date"):
        return f"{value} is not a day", "write it as 2026-12-31"
    return f"{value}: {error['msg'][:200]}", "correct this value"


def _extra(name: str, root: type[BaseModel], loc: Sequence[str | int]) -> tuple[str, str]:
    """Return the mistake of a field that is not one here, but perhaps one of another kind."""
    names = fields_at(root, loc[:-1])
    others = [f"`{kind}`" for kind, fields in _kinds_beside(root, loc[:-1]) if name in fields]
    if others:
        kind = str(loc[-2]).strip("<>")
        return f"{shown(name)} does not apply to `{kind}`", f"remove it: it is an option of {', '.join(others)}"
    return f"{shown(name)} is not a field here", did_you_mean(name, names)


def _kinds_beside(root: type[BaseModel], loc: Sequence[str | int]) -> Iterator[tuple[str, Collection[str]]]:
    """Yield the other kinds that a tagged mapping may be, each with the names of its fields."""
    alternatives: Alternatives = [(None, root)]
    for step in loc[:-1]:
        alternatives = _below(alternatives, step)
    tags = {tag for tag, _ in alternatives}
    if loc and loc[-1] in tags:
        for tag, kind in alternatives:
            if tag is not None and tag != loc[-1] and _is_model(kind):
                yield tag.strip("<>"), _fields(kind)


def problems(document: Document, model: type[BaseModel], refused: ValidationError) -> list[ConfigProblem]:
    """Return every error of `refused` with its place in the file."""
    mistakes = []
    errors = refused.errors(include_url=False)[:PROBLEMS_MAX]
    wrong = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    for error in errors:
        if error["type"] == "too_short" and error["loc"] in wrong:
            continue  # the list has entries, whose mistakes are reported
        mistake, remedy = _message(error, model)
        loc: tuple[str | int, ...] = error["loc"]
        if error["type"] == "union_tag_invalid":
            loc = (*loc, str(error.get("ctx", {}).get("discriminator", "")).strip("'"))
        misnamed = error["type"] == "extra_forbidden" or mistake.endswith("is not a field here")
        mistakes.append(document.problem(loc, mistake, remedy, key=misnamed))
    return mistakes
