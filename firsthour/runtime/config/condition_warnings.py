"""Warns of conditions that never or always hold: bounds that no score reaches, names that only other programs send."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from firsthour.kernel import languages
from firsthour.kernel.conditions.operands import EQUALITY
from firsthour.kernel.languages import language_code
from firsthour.runtime.config import ranges
from firsthour.runtime.config.documents import (
    ConfigDocuments,
    names,
    rows,
)
from firsthour.runtime.config.written_conditions import WrittenTest, conditions, tests_of, texts
from schemas.conditions.parser import parse
from schemas.conditions.tree import AllOf, AnyOf, Node, Not, Test
from schemas.values import Loc, did_you_mean, shown

_BEFORE_SCORE: Final = frozenset({("scoring", "fit", "rules"), ("scoring", "engagement", "rules"), ("suppress",)})
_BEFORE_OWNER: Final = frozenset({*_BEFORE_SCORE, ("qualify",)})
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
    for path, loc, raw, on in conditions(files):
        if raw is None:
            continue
        node = parse(raw, of_event=on is not None)
        if path == ("suppress",) and _holds(node):
            yield loc, "this holds for every person, so no lead is ever scored or routed; add a condition in `when:`"
        for both in _alls(node):
            if (excluded := _contradiction(both)) is not None:
                yield loc, f"the bounds of `{excluded}` exclude each other, so this never holds; change one of them"


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


def _alls(node: Node) -> Iterator[AllOf]:
    if isinstance(node, AllOf):
        yield node
    for part in node.parts if isinstance(node, AllOf | AnyOf) else (node.part,) if isinstance(node, Not) else ():
        yield from _alls(part)


def _contradiction(node: AllOf) -> str | None:
    """Return a field whose tests together exclude every number."""
    spans: dict[str, ranges.NumberRange] = {}
    for part in node.parts:
        span = ranges.span_of(part) if isinstance(part, Test) else None
        if span is not None and isinstance(part, Test):
            spans[part.field] = spans[part.field].within(span) if part.field in spans else span
            if spans[part.field].empty:
                return part.field
    return None


def _holds(node: Node) -> bool | None:
    """Return whether a condition holds for all facts (True) or for none (False). None: it depends on the facts."""
    match node:
        case Test():
            return None
        case Not(part):
            inner = _holds(part)
            return None if inner is None else not inner
        case AllOf(parts):
            each = [_holds(part) for part in parts]
            return False if False in each else True if all(each) else None
        case AnyOf(parts):
            each = [_holds(part) for part in parts]
            tests = {(part.field, bool(part.value)) for part in parts if isinstance(part, Test) and part.op == "exists"}
            either = any((field, not there) in tests for field, there in tests)
            return True if True in each or either else False if None not in each else None


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
