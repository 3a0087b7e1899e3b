"""Sentences for values that pydantic refuses: the fault as a predicate, and its remedy. They never quote the value.

Settings, values of the command line and bodies of requests share them. Configuration files have their own, which quote the
value at its place (`firsthour.runtime.config.error_messages`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

TIME_EXAMPLE: Final = "2026-12-01T09:00:00Z"
_LIMITS: Final = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_WORD = re.compile(r"'([^']*)'")


class ValueFault(NamedTuple):
    """A fault of a value, as a predicate, and its remedy."""

    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.fault}; {self.remedy}" if self.remedy else self.fault


def bounds(error: Mapping[str, Any]) -> str:
    """Return the remedy for a number out of range."""
    context = error.get("ctx", {})
    return (
        f"give a number {' and '.join(f'{word} {context[name]}' for name, word in _LIMITS.items() if name in context)}"
    )


def expected_words(text: str) -> list[str]:
    """Return the quoted words in a message such as `'json' or 'console'`."""
    return _WORD.findall(text)


def _one_of(words: list[str]) -> ValueFault:
    return ValueFault("is not one of the allowed values", f"use one of: {', '.join(words)}")


def _length(error: Mapping[str, Any]) -> ValueFault:
    context = error.get("ctx", {})
    noun = "entries" if isinstance(error.get("input"), list | tuple | dict) else "characters"
    if "max_length" in context:
        return ValueFault("is too long", f"write at most {context['max_length']} {noun}")
    least = context.get("min_length", 1)
    if least == 1:
        return ValueFault("is empty", "write a text")
    return ValueFault("is too short", f"write at least {least} {noun}")


def _own(error: Mapping[str, Any]) -> ValueFault:
    """Return the words of a validator. Those of the command line's library name the allowed values after the value."""
    text = str(error["msg"]).removeprefix("Value error, ")
    _, separator, words = text.partition(" is not one of ")
    if separator:
        return _one_of(expected_words(words))
    fault, _, remedy = text.partition("; ")
    return ValueFault(fault, remedy)


_WHOLE: Final = ValueFault("is not a whole number", "write digits, such as 30")
_NUMBER: Final = ValueFault("is not a number", "write digits, such as 40 or 0.5")
_BOOLEAN: Final = ValueFault("is neither true nor false", "write true or false")
_TIME: Final = ValueFault("is not a time", f"write it as {TIME_EXAMPLE}")
_TEXT: Final = ValueFault("is not a text", 'write text in quotes, such as "ana"')
_OBJECT: Final = ValueFault("is not an object", 'send an object, such as {"name": "value"}')

_FAULTS: Final[Mapping[str, Callable[[Mapping[str, Any]], ValueFault]]] = {
    "missing": lambda _: ValueFault("is missing", "add it"),
    "extra_forbidden": lambda _: ValueFault("is not a field of this body", "leave it out"),
    "value_error": _own,
    "literal_error": lambda error: _one_of(expected_words(str(error.get("ctx", {}).get("expected", "")))),
    "enum": lambda error: _one_of(expected_words(str(error.get("ctx", {}).get("expected", "")))),
    "string_type": lambda _: _TEXT,
    "string_unicode": lambda _: ValueFault("is not Unicode", "send text in UTF-8"),
    **dict.fromkeys(("too_short", "too_long", "string_too_short", "string_too_long"), _length),
    "string_pattern_mismatch": lambda _: ValueFault("has the wrong form", "see its description for the form"),
    "finite_number": lambda _: _NUMBER,
    "timezone_aware": lambda _: ValueFault("has no offset from UTC", f"write it as {TIME_EXAMPLE}"),
    "list_type": lambda _: ValueFault("is not a list", "send a list, such as [1, 2]"),
    "model_type": lambda _: _OBJECT,
    "model_attributes_type": lambda _: _OBJECT,
    "dict_type": lambda _: _OBJECT,
    **{f"int_{kind}": lambda _: _WHOLE for kind in ("type", "parsing", "parsing_size", "from_float")},
    **{f"float_{kind}": lambda _: _NUMBER for kind in ("type", "parsing")},
    **{f"bool_{kind}": lambda _: _BOOLEAN for kind in ("type", "parsing")},
    **{
        name: lambda error: ValueFault("is out of range", bounds(error))
        for name in ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
    },
}


def value_fault(error: Mapping[str, Any]) -> ValueFault:
    """Return the fault of a value, and the remedy, of an error of pydantic."""
    kind = str(error["type"])
    if kind in _FAULTS:
        return _FAULTS[kind](error)
    if kind.startswith(("datetime_", "date_")):
        return _TIME
    return ValueFault("is not a valid value", "see its description for the form")
