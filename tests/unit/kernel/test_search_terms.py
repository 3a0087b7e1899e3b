"""The terms of a person, and what a query means."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.normalisation.phones import national_part
from firsthour.kernel.normalisation.search_terms import (
    QUERY_CHARS_MAX,
    TERM_CHARS_MAX,
    SearchQuery,
    matches,
    read_query,
    search_terms,
    words_in,
)


def terms(**fields: Any) -> list[str]:
    values = {"email": None, "names": [], "company": None, "phone": None, "free_mailbox": False, **fields}
    return search_terms(**values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zoë Müller", ["zoe", "muller"]),
        ("ŁUKASZ Żak", ["lukasz", "zak"]),
        ("Straße", ["strasse"]),
        ("O'Neill-Smith_Jones", ["o", "neill", "smith", "jones"]),
        ("Σοφία Ιωάννου", ["σοφια", "ιωαννου"]),
        ("田中 太郎", ["田中", "太郎"]),
        ("ﬁrst Ⅳ", ["first", "iv"]),
        ("İstanbul ıslak", ["istanbul", "islak"]),
        ("\u202eabc\u2066 \u200bdef", ["abc", "def"]),
        ("50% _off_ '*' \"x\" NEAR(a) --", ["50", "off", "x", "near", "a"]),
    ],
    ids=lambda value: None if isinstance(value, list) else ascii(value),
)
def test_words_have_no_case_and_no_accents(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_person_is_found_by_the_beginning_of_each_run_of_words() -> None:
    found = terms(email="anna.schmidt@acme.example", names=["Anna Maria", "Schmidt"], company="Acme GmbH")
    assert found == [
        "acme example",
        "acme gmbh",
        "anna maria schmidt",
        "anna schmidt acme example",
        "gmbh",
        "maria schmidt",
        "schmidt acme example",
        "schmidt anna maria",
    ]


def test_shared_mailbox_domain_is_no_term() -> None:
    assert terms(email="anna@gmail.com", free_mailbox=True) == ["anna gmail com"]


def test_phone_is_found_with_and_without_its_country() -> None:
    assert terms(phone="+4930123456") == ["30123456", "4930123456"]
    assert national_part("+14155550100") == "4155550100"
    assert national_part("+99912345678") == "99912345678"


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("+49 30 123456", ("4930123456",)),
        ("+49 (0)30-123.456", ("4930123456",)),
        ("0049 30 123456", ("4930123456",)),
        ("030 / 123456", ("030123456", "30123456")),
        ("4930123", ("4930123",)),
        ("30", ()),
        ("Agency 2024", ()),
    ],
)
def test_phone_number_is_read_in_any_notation(text: str, phones: tuple[str, ...]) -> None:
    assert read_query(text).phones == phones


def test_begin_of_an_id_is_read_as_one() -> None:
    assert read_query("0190A1B2-").id == "0190a1b2-"
    assert read_query("anna").id is None
    assert read_query("019").id is None


def test_query_without_letters_or_digits_asks_for_nothing() -> None:
    for text in ("", "  ", "%", "_", "*", "' OR 1=1 --"[:1], "\u202e\u200b", "%%%___"):
        assert read_query(text) == SearchQuery((), (), None)


def test_words_may_stand_in_any_order() -> None:
    found = terms(names=["Anna Schmidt"], company="Nordwind AG")
    assert matches(found, ["nord", "anna"])
    assert matches(found, ["schm"])
    assert not matches(found, ["anna", "acme"])


@given(st.text(max_size=400))
def test_any_text_is_a_bounded_query(text: str) -> None:
    query = read_query(text * 3)
    assert len(query.phrase) <= TERM_CHARS_MAX
    assert all(word.isalnum() for word in query.words)
    assert read_query("x" * 100_000).words == (("x" * QUERY_CHARS_MAX)[:40],)


@given(st.text(max_size=100), st.text(max_size=100))
def test_person_is_found_by_their_own_name_and_company(name: str, company: str) -> None:
    found = terms(names=[name], company=company)
    for text in (name, company):
        query = read_query(text)
        if query.words:
            assert any(term.startswith(query.phrase) for term in found)
            assert matches(found, query.words)
