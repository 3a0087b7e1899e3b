"""The words for the names of the agreement."""

import pytest
from babel import Locale

from schemas.agreement import lifecycle
from schemas.conditions.fields import OPS
from schemas.events.outside import ABOUT_NO_LEAD, OUTSIDE_TYPES
from services.console.wording import (
    EVENTS,
    OF_LISTS,
    OPERATORS,
    STATUSES,
    VALUES_MAX,
    browser,
    duration,
    languages,
    number,
    operator_of,
    plain,
    values,
)


@pytest.mark.parametrize(
    ("text", "words"), [("14d", "14 days"), ("1h30m", "1 hour 30 minutes"), ("45s", "45 seconds"), ("0s", "")]
)
def test_duration_is_written_out(text: str, words: str) -> None:
    assert duration(text, Locale("en")) == words


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36",
            "Chrome, Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari, iPhone"),
        ("Mozilla/5.0 (Linux; Android 15; Mobile) Gecko/140.0 Firefox/140.0", "Firefox, Android"),
        ("curl/8.1", "curl/8.1"),
        ("x" * 200, "x" * 60),
        ("", ""),
    ],
    ids=("chrome", "edge", "iphone", "android", "program", "long", "none"),
)
def test_browser_is_named_in_words(agent: str, words: str) -> None:
    assert browser(agent) == words


def test_every_operator_and_event_has_words() -> None:
    assert OPERATORS.keys() == set(OPS) - {"exists"}
    assert EVENTS.keys() == set(OUTSIDE_TYPES) - set(ABOUT_NO_LEAD)


@pytest.mark.parametrize(("value", "text"), [(35.0, "35"), (0.5, "0.5"), (5_000, "5,000"), (-30.0, "-30"), (0, "0")])
def test_number_has_no_needless_decimals(value: float, text: str) -> None:
    assert number(value) == text


def test_long_list_of_values_is_cut() -> None:
    assert len(values(list(range(100)))) == VALUES_MAX + 1
    assert values(True) == ["true"]


def test_languages_have_their_names() -> None:
    assert languages(["fr", "EN", "xx"], Locale("en")) == "French, English, xx"


def test_operator_of_several_values_says_that_one_is_enough() -> None:
    assert operator_of("has_word", ["cto", "ceo"]) == OF_LISTS["has_word"]
    assert operator_of("has_word", ["cto"]) == operator_of("has_word", "cto") == OPERATORS["has_word"]
    assert operator_of("in", ["a", "b"]) == OPERATORS["in"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("opted-out", "opted out"), ("handed_on", "handed on"), ("on-trial", "on trial"), ("100%-sure", "100% sure")],
)
def test_name_of_a_status_or_kind_is_shown_in_words(name: str, words: str) -> None:
    assert plain(name, str) == words


def test_words_of_the_lifecycle_cover_the_built_in_one() -> None:
    assert STATUSES.keys() == lifecycle.STATUSES.keys()
