"""Checks conditions of the agreement that never or always hold: values that no fact has, scores that no lead reaches.

A value that no fact can have is a mistake. A bound that no score reaches, or a name that only an event of another program
could contain, is a warning.
"""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from firsthour.kernel import countries, languages
from firsthour.kernel.conditions import operands
from firsthour.kernel.conditions.operands import EQUALITY, UnreadableError
from firsthour.kernel.languages import language_code
from firsthour.runtime.config import ranges
from firsthour.runtime.config.checks import ConfigDocuments, at, defined, grades, names, rows, statuses, urgencies
from firsthour.runtime.config.yaml_source import ConfigProblem
from schemas import conditions
from schemas.conditions import AllOf, AnyOf, Node, Not, Test
from schemas.values import Loc, did_you_mean, shown

_LISTS: Final = (
    ("scoring", "fit", "rules"),
    ("scoring", "engagement", "rules"),
    ("qualify",),
    ("routing", "rules"),
    ("suppress",),
    ("recycle",),
    ("audiences",),
)
_MAPPINGS: Final = (("personas",), ("segments",))
_KINDS: Final = ("free", "disposable", "business")
_CURLY_DOUBLE: Final = "\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02"
_CURLY_SINGLE: Final = "\u2018\u2019\u201a\u201b"
_BEFORE_SCORE: Final = frozenset({("scoring", "fit", "rules"), ("scoring", "engagement", "rules"), ("suppress",)})
_COMPARED_MAX: Final = 100  # names used elsewhere, with which a misspelt one is compared
_SCORED: Final = frozenset(
    {"fit", "engagement", "total", "grade", "status", "urgency", "account.owner", "previous_owner"}
)


@dataclass(frozen=True)
class WrittenTest:
    """One test in the file. `path`: of its list."""

    loc: Loc
    field: str
    op: str
    value: object
    path: tuple[str, ...]


def fields(raw: object, loc: Loc) -> Iterator[tuple[Loc, str, object]]:
    """Return place, name and test of every field in a condition, as written, valid or not."""
    for key, value in raw.items() if isinstance(raw, Mapping) else ():
        if key == "not":
            yield from fields(value, (*loc, key))
        elif key in ("all", "any"):
            for index, part in enumerate(value if isinstance(value, list) else ()):
                yield from fields(part, (*loc, key, index))
        else:
            yield (*loc, key), key, value


def _conditions(files: ConfigDocuments) -> Iterator[tuple[tuple[str, ...], Loc, object, str | None]]:
    """Every condition: the path of its list or mapping, its place, the condition, the type of event of its rule."""
    for path in _LISTS:
        for loc, row in rows(files.agreement, *path):
            on = row.get("on")
            yield path, (*loc, "when"), row.get("when"), on if isinstance(on, str) else None
    for path in _MAPPINGS:
        named = at(files.agreement.data, *path)
        for name, raw in named.items() if isinstance(named, Mapping) else ():
            yield path, (*path, name), raw, None


def _asked(files: ConfigDocuments) -> Iterator[WrittenTest]:
    """Every test of every condition of the agreement."""
    for path, condition, raw, _ in _conditions(files):
        for loc, field, value in fields(raw, condition):
            if isinstance(value, Mapping):
                for op, wanted in value.items():
                    yield WrittenTest((*loc, op), field, op, wanted, path)
            else:
                yield WrittenTest(loc, field, "eq", value, path)


def _texts(test: WrittenTest) -> Iterator[tuple[Loc, str]]:
    return names(test.value, test.loc)


# --- mistakes ----------------------------------------------------------------------------------------------------


def problems(files: ConfigDocuments) -> Iterator[ConfigProblem]:
    """Return the values that no fact has."""
    closed = _closed(files)
    for test in _asked(files):
        for loc, text in _texts(test):
            found = _curly(text) or _unreadable(test, text) or _not_among(test, text, closed)
            if found is not None:
                yield files.agreement.problem(loc, *found)


def _curly(text: str) -> tuple[str, str] | None:
    double = text[:1] in _CURLY_DOUBLE or text[-1:] in _CURLY_DOUBLE
    single = len(text) > 1 and text[0] in _CURLY_SINGLE and text[-1] in _CURLY_SINGLE
    if not text or not (double or single):
        return None
    plain = text.strip(_CURLY_DOUBLE + _CURLY_SINGLE).replace('"', "'")
    return (
        f"the curly quotes are part of the value {shown(text)}",
        f'write `"{plain}"`, with straight quotes, or without any',
    )


def _unreadable(test: WrittenTest, text: str) -> tuple[str, str] | None:
    if test.op not in EQUALITY:
        return None
    try:
        operands.written(test.field, test.op, text)
    except UnreadableError as wrong:
        return f"{shown(text)} {wrong.what}, so `{test.field}` never has this value", _nearest(
            test.field, text
        ) or wrong.remedy
    return None


def _nearest(field: str, text: str) -> str | None:
    if not field.endswith("country"):
        return None
    near = difflib.get_close_matches(text.lower(), countries.BY_NAME, n=1, cutoff=0.7)
    return f"did you mean `{countries.BY_NAME[near[0]]}` ({near[0]})?" if near else None


def _closed(files: ConfigDocuments) -> dict[str, Collection[str]]:
    """The fields with a closed list of values. A field whose list is unknown is left out."""
    agreement = files.agreement
    found: dict[str, Collection[str]] = {
        "email.kind": _KINDS,
        "grade": grades(agreement),
        "status": statuses(agreement),
    }
    if isinstance(at(agreement.data, "response"), Mapping):
        found["urgency"] = urgencies(agreement)
    if files.team.data is not None:
        found |= dict.fromkeys(("account.owner", "previous_owner"), defined(files.team, "reps"))
    for field, path in (("persona", "personas"), ("segment", "segments")):
        named = at(agreement.data, path)
        found[field] = list(named) if isinstance(named, Mapping) else []
    return found


def _not_among(test: WrittenTest, text: str, closed: Mapping[str, Collection[str]]) -> tuple[str, str] | None:
    known = closed.get(test.field)
    if known is None or test.op not in EQUALITY or text.lower() in {one.lower() for one in known}:
        return None
    return f"{shown(text)} is no value of `{test.field}`", did_you_mean(text, known)


# --- warnings ----------------------------------------------------------------------------------------------------


def warnings(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Return the conditions that never hold, and those that always hold where they should select."""
    tests = list(_asked(files))
    yield from _forms(files, tests)
    yield from _languages(tests)
    for test in tests:
        if test.path in _BEFORE_SCORE and test.field in _SCORED and test.op != "exists":
            part = "people are suppressed" if test.path == ("suppress",) else "the score is made"
            yield test.loc, f"`{test.field}` is not known when {part}, so this never holds; take it out"
    yield from _bounds(files, tests)
    for path, loc, raw, on in _conditions(files):
        if raw is None:
            continue
        node = conditions.parse(raw, of_event=on is not None)
        if path == ("suppress",) and _holds(node):
            yield loc, "this holds for every person, so no lead is ever scored or routed; say in `when:` whom it is for"
        for both in _alls(node):
            if (excluded := _contradiction(both)) is not None:
                yield loc, f"the bounds of `{excluded}` exclude each other, so this never holds; change one of them"


def _bounds(files: ConfigDocuments, tests: Iterable[WrittenTest]) -> Iterator[tuple[Loc, str]]:
    """Bounds of scores that no lead or every lead reaches."""
    scores = ranges.scores(files.agreement.data)
    for test in tests:
        if test.field not in scores or test.path in _BEFORE_SCORE:
            continue
        low, high = scores[test.field]
        node = conditions.parse({test.field: {test.op: test.value}})
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
    """A field whose tests together exclude every number."""
    spans: dict[str, ranges.Span] = {}
    for part in node.parts:
        span = ranges.span_of(part) if isinstance(part, Test) else None
        if span is not None and isinstance(part, Test):
            spans[part.field] = spans[part.field].within(span) if part.field in spans else span
            if spans[part.field].empty:
                return part.field
    return None


def _holds(node: Node) -> bool | None:
    """Whether a condition holds for all facts (True) or none (False); None: it depends on the facts."""
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
            return True if True in each or either else False if not any(one is None for one in each) else None


def _forms(files: ConfigDocuments, tests: Iterable[WrittenTest]) -> Iterator[tuple[Loc, str]]:
    """Names of forms that are in no source."""
    known = {form for _, row in rows(files.sources, "sources") for _, form in names(row.get("forms"), ())}
    if not known:
        return
    of_form = [test for test in tests if test.field == "form"]
    used = Counter(text for test in of_form for _, text in _texts(test))
    others = [name for name, count in used.most_common(_COMPARED_MAX) if count > 1]
    for test in of_form:
        for loc, text in _texts(test) if test.op in EQUALITY else ():
            if text.lower() in {form.lower() for form in known}:
                continue
            near = did_you_mean(text, [*known, *(name for name in others if name != text)])
            remedy = near if near.startswith("did you mean") else "only /v1/events could carry it; " + near
            yield loc, f"{shown(text)} is no form of sources.yaml; {remedy}"


def _languages(tests: Iterable[WrittenTest]) -> Iterator[tuple[Loc, str]]:
    """Words that are not a language."""
    for test in tests:
        for loc, text in _texts(test) if test.field == "language" and test.op in EQUALITY else ():
            if language_code(text) not in languages.CODES:
                near = difflib.get_close_matches(text.lower(), languages.BY_NAME, n=1, cutoff=0.7)
                remedy = (
                    f"did you mean `{languages.BY_NAME[near[0]]}` ({near[0]})?" if near else "write its two-letter code"
                )
                yield loc, f"{shown(text)} is not a language that is known; {remedy}"
