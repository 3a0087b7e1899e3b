"""Warns of conditions that never or always hold: bounds that no score reaches, names that only other programs send."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from firsthour.kernel import languages
from firsthour.kernel.conditions.operands import EQUALITY
from firsthour.kernel.conditions.reasoning import excluded_field, impossible
from firsthour.kernel.languages import language_code
from firsthour.runtime.config import range_gaps, ranges
from firsthour.runtime.config.documents import (
    ConfigDocuments,
    names,
    rows,
)
from firsthour.runtime.config.written_conditions import WrittenTest, conditions, tests_of, texts
from schemas.conditions.parser import parse
from schemas.conditions.tree import Node, Not, Test
from schemas.values import Loc, did_you_mean, shown

_BEFORE_SCORE: Final = frozenset({("scoring", "fit", "rules"), ("scoring", "engagement", "rules"), ("suppress",)})
_BEFORE_OWNER: Final = frozenset({*_BEFORE_SCORE, ("qualify",)})
_SIDE_BY_SIDE: Final = (("scoring", "fit", "rules"), ("qualify",), ("routing", "rules"), ("segments",))
_COMPARED_MAX: Final = 100  # names used elsewhere, with which a misspelt one is compared
_SCORED: Final = frozenset({"fit", "engagement", "total", "grade"})
_OWNED: Final = frozenset(
    {"status", "urgency", "account.owner", "previous_owner", "touches", "attempts.unanswered", "attempts.total"}
)
_DECIDED: Final[Mapping[tuple[str, ...], str]] = {
    ("suppress",): "suppression is decided",
    ("qualify",): "the lines of `qualify` are judged",
}


def warnings(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the conditions that never hold, and those that always hold although they should select."""
    tests = list(tests_of(files))
    yield from _forms(files, tests)
    yield from _languages(tests)
    for test in tests:
        early = (test.path in _BEFORE_SCORE and test.field in _SCORED) or (
            test.path in _BEFORE_OWNER and test.field in _OWNED
        )
        if early and test.op != "exists":
            part = _DECIDED.get(test.path, "the score is computed")
            yield test.loc, f"`{test.field}` has no value when {part}, so this never holds; remove it"
    yield from _bounds(files, tests)
    yield from _judged(files)


def _judged(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the conditions that cannot hold, with their alternatives that cannot, and the gaps between ranges."""
    lists: dict[tuple[str, ...], list[tuple[Loc, Node]]] = {}
    for path, loc, raw, on in conditions(files):
        if raw is None:
            continue
        node = parse(raw, of_event=on is not None)
        lists.setdefault(path, []).append((loc, node))
        if path == ("suppress",) and impossible(Not(node)):
            yield loc, "this holds for every person, so no lead is ever scored or routed; add a condition in `when:`"
        yield from _impossible(loc, raw, node, of_event=on is not None)
    for path in _SIDE_BY_SIDE:
        yield from range_gaps.warnings(lists.get(path, []))


def _impossible(loc: Loc, raw: object, node: Node, *, of_event: bool) -> Iterator[tuple[Loc, str]]:
    if impossible(node):
        field = excluded_field(node)
        which = f"the tests of `{field}`" if field else "its tests"
        yield loc, f"{which} exclude each other, so this never holds; change one of them"
        return
    for below, part in _alternatives(raw, loc):
        alternative = parse(part, of_event=of_event)
        if impossible(alternative):
            field = excluded_field(alternative)
            which = f"the tests of `{field}`" if field else "its tests"
            yield below, f"{which} exclude each other, so this alternative never holds; change or remove it"


def _alternatives(raw: object, loc: Loc) -> Iterator[tuple[Loc, object]]:
    """Yield every alternative of an `any:` that is not below a `not:`, with its location."""
    for key in ("any", "all"):
        parts = raw.get(key) if isinstance(raw, Mapping) else None
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if key == "any":
                yield (*loc, key, index), part
            yield from _alternatives(part, (*loc, key, index))


def _bounds(files: ConfigDocuments, tests: Iterable[WrittenTest]) -> Iterator[tuple[Loc, str]]:
    """Yield the bounds of scores that no lead or every lead reaches."""
    scores = ranges.scores(files.agreement.data)
    for test in tests:
        if test.field not in scores or test.path in _BEFORE_SCORE:
            continue
        low, high = scores[test.field]
        node = parse({test.field: {test.op: test.value}})
        verdict = ranges.certain(node, low, high) if isinstance(node, Test) else None
        if verdict is not None:
            how = "always" if verdict else "never"
            yield test.loc, f"`{test.field}` lies between {low:g} and {high:g}, so this {how} holds; change the bound"


def _forms(files: ConfigDocuments, tests: Iterable[WrittenTest]) -> Iterator[tuple[Loc, str]]:
    """Yield the names of forms that are in no source."""
    forms = {form for _, row in rows(files.sources, "sources") for _, form in names(row.get("forms"), ())}
    if not forms:
        return
    of_form = [test for test in tests if test.field == "form"]
    used = Counter(text for test in of_form for _, text in texts(test))
    others = [name for name, count in used.most_common(_COMPARED_MAX) if count > 1]
    for test in of_form:
        for loc, text in texts(test) if test.op in EQUALITY else ():
            if text.lower() in {form.lower() for form in forms}:
                continue
            suggestion = did_you_mean(text, [*forms, *(name for name in others if name != text)])
            remedy = (
                suggestion if suggestion.startswith("did you mean") else "only /v1/events can send it; " + suggestion
            )
            yield loc, f"{shown(text)} is not a form of sources.yaml; {remedy}"


def _languages(tests: Iterable[WrittenTest]) -> Iterator[tuple[Loc, str]]:
    """Yield the words that are not a language."""
    for test in tests:
        for loc, text in texts(test) if test.field == "language" and test.op in EQUALITY else ():
            if language_code(text) not in languages.CODES:
                matches = difflib.get_close_matches(text.lower(), languages.BY_NAME, n=1, cutoff=0.7)
                remedy = (
                    f"did you mean `{languages.BY_NAME[matches[0]]}` ({matches[0]})?"
                    if matches
                    else "write its two-letter code"
                )
                yield loc, f"{shown(text)} is not a known language; {remedy}"
