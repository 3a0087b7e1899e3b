"""Checks of sources: names that occur twice, and the expressions of mappings."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.lexer import Lexer

from firsthour.runtime.config.documents import ConfigProblem, Document, names, rows
from schemas.fetching import path_parts
from schemas.mapping_functions import MAPPING_FUNCTIONS
from schemas.values import Loc, did_you_mean, repeated_indexes, shown

EXPRESSIONS: Final = ("each", "when", "time", "id", "email", "phone", "crm_id", "anonymous_id", "client", "form_fields")
"""The fields of an entry of `events:` that are expressions, besides those in `data`."""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPARES: Final = ("eq", "ne")
_OWN_FUNCTIONS: Final = frozenset(Functions.FUNCTION_TABLE)
_FUNCTIONS: Final = (*MAPPING_FUNCTIONS, *sorted(_OWN_FUNCTIONS))


def problems(sources: Document) -> Iterator[ConfigProblem]:
    """Yield every mistake."""
    placed = [((*loc, "id"), row["id"]) for loc, row in rows(sources, "sources") if isinstance(row.get("id"), str)]
    for index in repeated_indexes([name for _, name in placed]):
        loc, name = placed[index]
        yield sources.problem(loc, f"the source {shown(name)} occurs twice", "rename or remove one of them")
    forms = list(chain.from_iterable(names(row.get("forms"), (*loc, "forms")) for loc, row in rows(sources, "sources")))
    for index in repeated_indexes([form for _, form in forms]):
        loc, form = forms[index]
        yield sources.problem(loc, f"the form {shown(form)} occurs twice", "keep it in one source")
    listed = (names(row.get("producers"), (*loc, "producers")) for loc, row in rows(sources, "sources"))
    producers = list(chain.from_iterable(listed))
    for index in repeated_indexes([producer for _, producer in producers]):
        loc, producer = producers[index]
        yield sources.problem(loc, f"the producer {shown(producer)} occurs twice", "keep it in one source")
    for source, row in rows(sources, "sources"):
        for place, text in _fetch_expressions((*source, "fetch"), row.get("fetch")):
            yield from _expression(sources, place, text)
        for loc, mapping in rows(sources, *source, "events"):
            if row.get("kind") == "kafka" and "client" in mapping:  # events of programs of the house make no burst
                mistake = "`client` does not apply to `kafka`"
                yield sources.problem(
                    (*loc, "client"), mistake, "remove it: it is an option of `webhook`, `preset`", key=True
                )
            for place, text in expressions(loc, mapping):
                yield from _expression(sources, place, text)


def expressions(loc: Loc, mapping: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Yield the expressions of an entry of `events:`, each with its location."""
    data = mapping.get("data")
    for place, text in (
        *(((*loc, field), mapping.get(field)) for field in EXPRESSIONS),
        *(((*loc, "data", field), text) for field, text in (data.items() if isinstance(data, Mapping) else ())),
    ):
        if isinstance(text, str):
            yield place, text


def warnings(sources: Document) -> Iterator[tuple[Loc, str]]:
    """Yield the expressions of valid sources in which a name of a field stands where a word is probably meant."""
    for source, row in rows(sources, "sources"):
        parts = (expressions(loc, mapping) for loc, mapping in rows(sources, *source, "events"))
        for place, text in chain(_fetch_expressions((*source, "fetch"), row.get("fetch")), *parts):
            for word in _words_as_names(text):
                yield (
                    place,
                    f"{shown(chr(34) + word + chr(34))} names a field of the body; a word is quoted as '{word}'",
                )


def _words_as_names(text: str) -> Iterator[str]:
    """Yield the names in double quotes that need none, or that something is compared with."""
    tokens = list(Lexer().tokenize(text))
    for before, token, after in zip([{"type": ""}, *tokens], tokens, [*tokens[1:], {"type": ""}], strict=False):
        compared = before["type"] in _COMPARES or after["type"] in _COMPARES
        if token["type"] == "quoted_identifier" and (compared or _PLAIN_NAME.fullmatch(token["value"])):
            yield token["value"]


def _fetch_expressions(loc: Loc, fetch: object) -> Iterator[tuple[Loc, str]]:
    """Yield the expressions of `fetch:`, each with its location."""
    if not isinstance(fetch, Mapping):
        return
    for field in ("each", "when", "id", "retry_when"):
        if isinstance(text := fetch.get(field), str):
            yield (*loc, field), text
    if isinstance(path := fetch.get("path"), str):
        yield from (((*loc, "path"), text) for text in path_parts(path)[1::2] if text.strip())


def _expression(sources: Document, loc: Loc, text: str) -> Iterator[ConfigProblem]:
    try:
        parsed = jmespath.compile(text).parsed
    except (JMESPathError, ValueError, RecursionError) as failure:
        why = " ".join(str(failure).split("\n", maxsplit=1)[0].split())[:160]
        remedy = "see jmespath.org; words in it are quoted as 'word', numbers as `20`"
        yield sources.problem(loc, f"this is not JMESPath: {why}", remedy)
        return
    for name, count in _calls(parsed):
        if name not in _FUNCTIONS:
            yield sources.problem(loc, f"{shown(name)} is not a function", did_you_mean(name, _FUNCTIONS))
        elif name in MAPPING_FUNCTIONS:
            function = MAPPING_FUNCTIONS[name]
            if count < function.least or (function.most is not None and count > function.most):
                wanted = str(function.least) if function.most == function.least else f"{function.least} or more"
                remedy = f"give {wanted}: it returns {function.text}"
                yield sources.problem(loc, f"`{name}` has {count} arguments", remedy)


def _calls(node: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of arguments of each call in a syntax tree."""
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node["children"]:
        if isinstance(child, Mapping):
            yield from _calls(child)
