"""The languages of the console, and that every text of its templates is in the catalogue."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from babel.messages.pofile import read_po
from jinja2 import Environment

from firsthour.operations import console_texts
from services.console import catalogue
from services.console.catalogue import language_of, languages

TEMPLATES: Final = sorted((catalogue.FOLDER.parent / "templates").glob("*.html"))
NAMES: Final = frozenset({"FirstHour", ".yaml", "rep:ana", "leads.accept", "7d"})
"""Words that are the same in every language, and examples of values."""
READ: Final = frozenset(
    {"aria-label", "title", "placeholder", "alt", "label", "data-left", "data-late", "data-offline"}
)
"""Attributes that people read."""


@pytest.mark.parametrize("accepted", ["", "de-DE,de;q=0.9", "en-GB,en", "*", ";;;,,", "x" * 5_000])
def test_reader_without_a_known_language_gets_english(accepted: str) -> None:
    assert language_of(accepted) == "en"


def test_every_language_is_a_readable_catalogue() -> None:
    assert "en" in languages()


def test_list_for_translators_has_every_text_of_the_console() -> None:
    with catalogue.TEMPLATE.open("rb") as file:
        listed = {message.id for message in read_po(file) if message.id}
    assert listed == {text for _, text in console_texts.texts()}, "run `make schemas`"


def literal_html(source: str) -> str:
    """Return the text that a template contains as it is: without expressions, and without what is translated."""
    parts, begins, is_translated = [], False, False
    for _, kind, value in Environment(extensions=["jinja2.ext.i18n"]).lex(source):  # nothing is rendered
        if kind == "block_begin":
            begins = True
        elif kind == "name" and begins:
            begins, is_translated = False, value == "trans" or (is_translated and value != "endtrans")
        elif kind == "data" and not is_translated:
            parts.append(value)
    return "".join(parts)


class LiteralReader(HTMLParser):
    """Collects the words that people read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words += [word for name, value in attrs if name in READ for word in (value or "").split()]

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def untranslated(source: str) -> list[str]:
    words = LiteralReader(literal_html(source)).words
    return [word for word in words if any(map(str.isalpha, word)) and word not in NAMES]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_text_of_a_template_is_outside_of_the_catalogue(template: Path) -> None:
    assert untranslated(template.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>Hello</p>", ["Hello"]),
        ('<p title="Why {{ x }}">{{ _("Hello") }}</p>', ["Why"]),
        ("{% trans n=1 %}Hello {{ n }}{% endtrans %}<b>you</b>", ["you"]),
        ('{# a note #}{% if x == "yes" %}<a class="b">{{ x }}</a>{% endif %} · 5 %', []),
    ],
)
def test_text_outside_of_the_catalogue_is_noticed(source: str, words: list[str]) -> None:
    assert untranslated(source) == words
