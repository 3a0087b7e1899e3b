"""Values on pages: each is escaped, visible and bounded, whatever a template does with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.normalisation.texts import without_invisible
from services.console.markup import SHORT_CHARS_MAX, SHOWN_CHARS_MAX, WholeText, short, templates

HARMFUL = "\x00\x07\x1b\x85\u200b\u202e\u2066\u2069\u061c\ufeff\ud800"
texts = st.text(max_size=80) | st.text(HARMFUL + "<>&'\"aé👩\u200d", max_size=80)


def rendered(source: str, **values: object) -> str:
    return templates("en").from_string(source).render(**values)


@given(texts)
def test_value_is_escaped_and_has_no_character_that_harms(text: str) -> None:
    page = rendered("<p title='{{ text }}'>{{ text }}{% if text %}{{ text|upper }}{% endif %}</p>", text=text)
    inner = page.removeprefix("<p title='").removesuffix("</p>").replace("'>", "", 1)
    assert not set(inner) & set("<>'\"" + HARMFUL)
    page.encode()


@pytest.mark.parametrize("number", [SHOWN_CHARS_MAX, SHOWN_CHARS_MAX + 1, 100_000])
def test_long_value_is_cut_unless_it_is_meant_as_a_whole(number: int) -> None:
    text = "x" * number
    assert len(rendered("{{ text }}", text=text)) == min(number, SHOWN_CHARS_MAX)
    assert rendered("{{ text|whole }}", text=text) == text
    assert len(rendered("{{ text|short }}", text=text)) == SHORT_CHARS_MAX


def test_whole_text_is_escaped_and_keeps_its_lines() -> None:
    assert rendered("{{ text|whole }}", text="a:\n\t<b>\u202e\ud800") == "a:\n\t&lt;b&gt;\u202e?"
    assert type(WholeText("x")) is WholeText


def test_values_that_are_no_text_stay() -> None:
    assert short(None) is None
    assert rendered("{{ n }} {{ none }} {{ f }}", n=5, f=1.5) == "5 None 1.5"


@given(st.text())
def test_text_without_invisible_characters_stays_so(text: str) -> None:
    once = without_invisible(text)
    assert without_invisible(once) == once
    assert not set(once) & set(HARMFUL)
    assert without_invisible("a\tb\nc") == "a\tb\nc"
