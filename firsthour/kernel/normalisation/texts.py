"""Normalises texts: one line, composed characters (NFC), no invisible characters."""

import re
import unicodedata
from functools import cache
from typing import Final, NamedTuple

TEXT_MAX: Final = 2_000
"""Characters of a normalised text; the rest is cut off."""

IDENTIFIER_EDGES: Final = " \t\r\n\xa0\u200b\ufeff"
"""Characters around an address or a number that are not part of it."""

_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029\u2800]+")  # U+2800 is the blank Braille pattern


def _characters(*spans: tuple[int, int]) -> frozenset[str]:
    return frozenset(chr(code) for first, last in spans for code in range(first, last + 1))


# Control characters, direction marks, zero-width characters, Hangul fillers, tags, and surrogates.
_INVISIBLE = _characters(
    *((0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180E, 0x180E)),
    *((0x200B, 0x200B), (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xD800, 0xDFFF)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    *((0xE0000, 0xE00FF), (0xE01F0, 0xE0FFF)),
)
_OF_LAYOUT = frozenset("\t\n")
_WITHOUT_INVISIBLE = dict.fromkeys(map(ord, _INVISIBLE))
_HARMFUL = dict.fromkeys(map(ord, _INVISIBLE - _OF_LAYOUT))
# Joiners and variation selectors change the look of neighbouring characters; alone they are invisible.
_SELECTORS = _characters(
    *((0x34F, 0x34F), (0x180B, 0x180D), (0x180F, 0x180F), (0x200C, 0x200D), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
)
_SUSPECT = _INVISIBLE | _SELECTORS | {"\u2800"}
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_EDGES = _SPACES + "\u200c\u200d"  # at an edge, a joiner joins nothing
_INVISIBLE_ALONE = _SELECTORS | frozenset(_SPACES)
_READ_FACTOR = 4  # characters read for each character of the limit, because invisible ones are dropped

_MARKS_MAX = 30  # combining marks in a row, as UAX #15 (stream-safe format); NFC sorts n of them in n squared steps
# Marks that NFC replaces by two marks.
_DOUBLE_MARKS = {0x344: "\u0308\u0301", 0xF73: "\u0f71\u0f72", 0xF75: "\u0f71\u0f74", 0xF81: "\u0f71\u0f80"}


def has_invisible(text: str) -> bool:
    """Return whether the text has characters that are invisible when they stand alone."""
    return not _SUSPECT.isdisjoint(text)


def without_invisible(text: str) -> str:
    """Return the text without control characters, direction marks, lone surrogates and other invisible characters.

    Line feeds and tabs stay.
    """
    return text if text.isascii() and text.isprintable() else text.translate(_HARMFUL)


def normalise_text(text: str, limit: int = TEXT_MAX) -> str:
    """Return `text` on one line, in NFC, trimmed, of at most `limit` characters; empty without visible characters.

    Control characters and other invisible characters are dropped. The cost is linear in `limit` for every text.
    """
    if len(text) > limit:
        text = text[: limit * _READ_FACTOR]
    if text.isascii():
        if not text.isprintable():
            text = _BREAKS.sub(" ", text).translate(_WITHOUT_INVISIBLE)
        return text.strip()[:limit].rstrip()
    if text.isprintable() and _SUSPECT.isdisjoint(text):
        if len(text) <= _MARKS_MAX and len(text) * 3 <= limit:  # NFC makes a text at most three times as long
            return unicodedata.normalize("NFC", text).strip()
        return _composed(text).strip()[:limit].rstrip()
    text = _BREAKS.sub(" ", text).translate(_WITHOUT_INVISIBLE)
    if _INVISIBLE_ALONE.issuperset(text):
        return ""
    return _composed(text).strip(_EDGES)[:limit].rstrip(_EDGES)


class _Marks(NamedTuple):
    """The combining marks. `basic_run` matches only those below U+10000, which is several times as fast as `any_run`."""

    all: frozenset[str]
    basic_run: re.Pattern[str]
    any_run: re.Pattern[str]


@cache
def _marks() -> _Marks:
    """Collect the marks at first use, which takes 8 ms: only long texts beyond ASCII need them."""
    marks = frozenset(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000)))) | set(map(chr, _DOUBLE_MARKS))
    every = "".join(sorted(marks))
    basic = "".join(mark for mark in every if mark < "\U00010000")
    return _Marks(marks, re.compile(f"[{basic}]+"), re.compile(f"[{every}]+"))


def _composed(text: str) -> str:
    """Return the text in NFC, with at most `_MARKS_MAX` combining marks in a row.

    NFC may lengthen a run of marks, so the bound is applied before and after it.
    """
    if len(text) <= _MARKS_MAX or _marks().all.isdisjoint(text):
        return unicodedata.normalize("NFC", text)
    run = _marks().basic_run if max(text) < "\U00010000" else _marks().any_run
    text = run.sub(_bounded, text.translate(_DOUBLE_MARKS))
    return run.sub(_bounded, unicodedata.normalize("NFC", text))


def _bounded(run: re.Match[str]) -> str:
    return run[0][:_MARKS_MAX]
