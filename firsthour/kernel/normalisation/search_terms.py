"""The terms by which a person is found, and what a person who searches asks for: in lower case, without accents.

A field becomes words. Each run of words from one of them to the end of the field is a term, so that `maria schm` finds
Anna Maria Schmidt by one look at the index. Words are joined by one space.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from firsthour.kernel.normalisation.phones import national_part

QUERY_CHARS_MAX: Final = 200
"""Characters of a query that count."""
FIELD_CHARS_MAX: Final = 200
WORDS_MAX: Final = 6
WORD_CHARS_MAX: Final = 40
TERM_CHARS_MAX: Final = 80
PHONE_DIGITS_MIN: Final = 4
_WORDS: Final = re.compile(r"[^\W_]+")
_PHONE: Final = re.compile(r"[+0-9()./\s-]+", re.ASCII)
_ID: Final = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,32}", re.ASCII)
_LETTERS: Final = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
"""Letters that have no accent by Unicode, and that are typed without one."""


class SearchQuery(NamedTuple):
    """The parts of a search text: the beginning of words, of a phone number in digits, or of an id."""

    words: tuple[str, ...]
    phones: tuple[str, ...]
    id: str | None

    @property
    def phrase(self) -> str:
        """The words as a term begins with them."""
        return " ".join(self.words)[:TERM_CHARS_MAX]


def words_in(text: str) -> list[str]:
    """Return the words of a text as they are compared, `WORDS_MAX` at most."""
    text = text[:FIELD_CHARS_MAX]
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold().translate(_LETTERS)
    return [word[:WORD_CHARS_MAX] for word in _WORDS.findall(text.lower())[:WORDS_MAX]]


def search_terms(
    *, email: str | None, names: Iterable[str], company: str | None, phone: str | None, free_mailbox: bool
) -> list[str]:
    """Return the terms of a person, sorted. A term that another one begins with is left out.

    Args:
        email: the address.
        names: the name, whole or in parts.
        company: the name of the company.
        phone: the number in E.164.
        free_mailbox: the domain of the address is shared by strangers, so that it says nothing.
    """
    terms = set[str]()
    if email is not None:
        local, _, domain = email.rpartition("@")
        own, shared = words_in(local), words_in(domain)
        terms |= _from_each([*own, *shared], len(own) + (0 if free_mailbox else max(1, len(shared) - 1)))
    name = words_in(" ".join(names))
    terms |= _from_each(name)
    if len(name) > 1:
        terms.add(" ".join([name[-1], *name[:-1]]))  # the surname first
    if company:
        terms |= _from_each(words_in(company))
    if phone:
        terms |= {re.sub(r"\D", "", phone), national_part(phone)}
    return _without_beginnings(term[:TERM_CHARS_MAX] for term in terms if term)


def read_query(text: str) -> SearchQuery:
    """Return what a text asks for. Nothing in it has a meaning beyond its letters and digits."""
    text = text[:QUERY_CHARS_MAX].strip()
    lowered = text.lower()
    return SearchQuery(tuple(words_in(text)), _phones(text), lowered if _ID.fullmatch(lowered) else None)


def matches(terms: Sequence[str], words: Iterable[str]) -> bool:
    """Return whether each of these words begins a term."""
    return all(any(term.startswith(word) for term in terms) for word in words)


def _from_each(words: Sequence[str], count: int | None = None) -> set[str]:
    """Return the words from each of the first `count` to the end. None: from each."""
    return {" ".join(words[n:]) for n in range(len(words) if count is None else min(count, len(words)))}


def _without_beginnings(terms: Iterable[str]) -> list[str]:
    ordered = sorted(set(terms))
    return [one for n, one in enumerate(ordered) if not any(after.startswith(one) for after in ordered[n + 1 : n + 2])]


def _phones(text: str) -> tuple[str, ...]:
    """Return the beginnings of the numbers that a text may mean, in digits."""
    if not _PHONE.fullmatch(text):
        return ()
    digits = re.sub(r"\D", "", text.replace("(0)", ""))
    if len(digits) < PHONE_DIGITS_MIN:
        return ()
    if digits.startswith("00") and not text.startswith("+"):
        return (digits[2:],)
    return (digits, digits[1:]) if digits.startswith("0") else (digits,)
