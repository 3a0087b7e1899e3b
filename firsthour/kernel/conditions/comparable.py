"""The forms in which a database compares facts: one flat document of texts, so that SQL needs no case folding and no casts.

Keys are a letter and the name of the field: `t` the folded text, `w` its words (only where they differ from the text), `n` a
number, `m` the number that a text spells, `b` a boolean, `i` the moment that a text names, `d` and `r` its host and the
registrable domain of that. Numbers and moments are texts whose order as bytes is their own order. A number is stored as a
double, so whole numbers are exact up to 2**53, as facts are.
"""

import struct
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from firsthour.kernel.conditions.domain_forms import place_of
from firsthour.kernel.conditions.text_forms import fold, measured, sentence
from schemas.conditions.moments import instant
from schemas.events.base import Value

_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_MOMENT_OFFSET: Final = 10**18
_MOMENT_MAX: Final = 10**19 - 1


def key(letter: str, field: str) -> str:
    """Return the key of a form. It has no character that a JSON path would have to escape."""
    return f"{letter}.{quote(field, safe='')}"


def number_form(value: float) -> str:
    """Return sixteen hex digits whose order is that of the numbers."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", _double(value) + 0.0))  # -0.0 + 0.0 is 0.0
    return f"{bits ^ (_ALL if bits & _SIGN else _SIGN):016x}"


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def moment_form(us: int) -> str:
    """Return nineteen digits whose order is that of the moments (microseconds)."""
    return f"{min(max(us + _MOMENT_OFFSET, 0), _MOMENT_MAX):019d}"


def comparable(facts: Mapping[str, Value]) -> dict[str, str]:
    """Return the document of these facts."""
    document: dict[str, str] = {}
    for field, value in facts.items():
        if isinstance(value, bool):
            document[key("b", field)] = str(int(value))
        elif isinstance(value, str):
            document |= _of_text(field, value)
        else:
            document[key("n", field)] = number_form(value)
    return document


def _of_text(field: str, text: str) -> dict[str, str]:
    folded = fold(text)
    forms = {key("t", field): folded}
    words = sentence(folded)
    if words != f" {folded} ":
        forms[key("w", field)] = words
    spelt, at, place = measured(text), instant(text), place_of(text)
    if spelt is not None:
        forms[key("m", field)] = number_form(spelt)
    if at is not None:
        forms[key("i", field)] = moment_form(at)
    if place is not None:
        forms[key("d", field)], forms[key("r", field)] = place
    return forms
