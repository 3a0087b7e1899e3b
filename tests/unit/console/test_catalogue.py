"""The languages of the console."""

import pytest

from services.console.catalogue import language_of, languages


@pytest.mark.parametrize("accepted", ["", "de-DE,de;q=0.9", "en-GB,en", "*", ";;;,,", "x" * 5_000])
def test_reader_without_a_known_language_gets_english(accepted: str) -> None:
    assert language_of(accepted) == "en"


def test_every_language_is_a_readable_catalogue() -> None:
    assert "en" in languages()
