"""Checks the values in conditions of the agreement: a value that no fact can have is a mistake."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from pydantic import ValidationError

from firsthour.kernel import countries
from firsthour.kernel.conditions import operands
from firsthour.kernel.conditions.domain_forms import domain_pattern
from firsthour.kernel.conditions.operands import EQUALITY, UnreadableError
from firsthour.kernel.normalisation.companies import is_public_suffix
from firsthour.runtime.config.documents import (
    ConfigDocuments,
    ConfigProblem,
    at,
    defined,
    grades,
    statuses,
    urgencies,
)
from firsthour.runtime.config.written_conditions import WrittenTest, custom_kinds, custom_values, tests_of, texts
from schemas.conditions.fields import DOMAIN
from schemas.conditions.parser import parse
from schemas.values import did_you_mean, shown

_KINDS: Final = ("free", "disposable", "business")
_CURLY_DOUBLE: Final = "\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02"
_CURLY_SINGLE: Final = "\u2018\u2019\u201a\u201b"


def problems(files: ConfigDocuments) -> Iterator[ConfigProblem]:
    """Yield the values that no fact has."""
    closed = _closed(files)
    yield from _declared(files)
    for test in tests_of(files):
        for loc, text in texts(test):
            mistake = (
                _curly(text) or _unreadable(test, text) or _no_domain(test, text) or _not_among(test, text, closed)
            )
            if mistake is not None:
                yield files.agreement.problem(loc, *mistake)


def _declared(files: ConfigDocuments) -> Iterator[ConfigProblem]:
    """Yield the tests of custom fields that the agreement does not declare, or declares with another type."""
    kinds = custom_kinds(files.agreement)
    for test in tests_of(files) if kinds else ():
        if not test.field.startswith("custom."):
            continue
        raw = {test.field: {test.op: test.value}}
        base = test.loc[:-1] if test.loc[-1] == test.op else test.loc
        try:
            parse(raw)
        except ValidationError:
            continue  # the model reports it
        try:
            parse(raw, custom=kinds)
        except ValidationError as failure:
            for error in failure.errors(include_url=False):
                context = error.get("ctx", {})
                yield files.agreement.problem((*base, *error["loc"][1:]), context["mistake"], context["remedy"])


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
        return f"{shown(text)} {wrong.mistake}, so `{test.field}` never has this value", _nearest(
            test.field, text
        ) or wrong.remedy
    return None


def _no_domain(test: WrittenTest, text: str) -> tuple[str, str] | None:
    if test.op != DOMAIN:
        return None
    place = domain_pattern(text)
    bare = text.strip().lower().rstrip(".").removeprefix("@").removeprefix("*.")
    if place is None and is_public_suffix(bare):
        return f"{shown(text)} is a public suffix, under which everyone has a domain", "name a domain below it"
    if place is None:
        return f"{shown(text)} is not a domain", "write it such as acme.com"
    return (
        None
        if place.host == bare or not bare.isascii()
        else (f"{shown(text)} is not a domain", f"write `{place.host}`")
    )


def _nearest(field: str, text: str) -> str | None:
    if not field.endswith("country"):
        return None
    matches = difflib.get_close_matches(text.lower(), countries.BY_NAME, n=1, cutoff=0.7)
    return f"did you mean `{countries.BY_NAME[matches[0]]}` ({matches[0]})?" if matches else None


def _closed(files: ConfigDocuments) -> dict[str, Collection[str]]:
    """Return the fields with a closed list of values. A field whose list is unknown is left out."""
    agreement = files.agreement
    values: dict[str, Collection[str]] = {
        "email.kind": _KINDS,
        "grade": grades(agreement),
        "status": statuses(agreement),
    }
    if isinstance(at(agreement.data, "response"), Mapping):
        values["urgency"] = urgencies(agreement)
    if files.team.data is not None:
        values |= dict.fromkeys(("account.owner", "previous_owner"), defined(files.team, "reps"))
    values |= custom_values(agreement)
    for field, path in (("persona", "personas"), ("segment", "segments")):
        named = at(agreement.data, path)
        values[field] = list(named) if isinstance(named, Mapping) else []
    return values


def _not_among(test: WrittenTest, text: str, closed: Mapping[str, Collection[str]]) -> tuple[str, str] | None:
    values = closed.get(test.field)
    if values is None or test.op not in EQUALITY or text.lower() in {value.lower() for value in values}:
        return None
    return f"{shown(text)} is not a value of `{test.field}`", did_you_mean(text, values)
