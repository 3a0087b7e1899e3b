"""The forms in which texts are compared."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

_ASCII_WORD: Final = re.compile(r"\w+").findall
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?").fullmatch


def fold(text: str) -> str:
    """Return the text in NFKC, without case."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=1024)
def measured(text: str) -> float | None:
    """Return the number of a text in plain digits (`-12`, `15000`, `0.5`); None: another text."""
    return float(text) if _NUMBER(text) else None


@lru_cache(maxsize=1024)
def sentence(folded: str) -> str:
    """Return the words of a folded text between single spaces: `" head of r d "`. A phrase is found in it as whole words.

    A word is a run of letters, digits, marks and underscores, in any script.
    """
    if folded.isascii():
        words = _ASCII_WORD(folded)
    else:
        words = "".join(character if _in_word(character) else " " for character in folded).split()
    return f" {' '.join(words)} " if words else ""


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"
