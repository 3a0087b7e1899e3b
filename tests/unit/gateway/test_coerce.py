"""Conversion of values: numbers, company sizes, consent."""

from typing import Any

import pytest

from services.gateway.domain.coerce import boolean, headcount, number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,200", 1200),
        ("1.200.000", 1200000),
        ("12.5", 12.5),
        ("500+", 500),
        ("51-200", 51),
        ("51 – 200", 51),
        ("1'200", 1200),
        *(("many", None), ("", None), (True, None), ("9" * 30, None), (2**60, None), ("-3", -3), ("1e5", None)),
    ],
)
def test_numbers_are_parsed_in_common_formats(text: Any, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("201-500 employees", 201), ("201 – 500 Mitarbeiter", 201), ("1,001-5,000", 1001), ("1.001 - 5.000", 1001)),
        *(("10,001+ employees", 10001), ("500+", 500), ("11 to 50", 11), ("51 bis 200 Mitarbeitende", 51)),
        *(("more than 500", 501), ("> 1000", 1001), ("over 10k", 10001), ("1k-5k", 1000), ("1-5k", 1000)),
        *(("<10", 1), ("less than 50 people", 1), ("up to 20", 1), ("Just me", 1), ("Self-employed", 1)),
        *(("about 300", 300), ("ca. 300", 300), ("at least 50", 50), (["", "51-200"], 51), (1200.9, 1200)),
        *(("a few", None), ("", None), ("founded 1999 with 20", None), ("2 offices, 30 people", None), (True, None)),
        *(("9" * 40, None), ("1-" * 40, None), ("1" + " " * 90_000 + "x", 1)),
    ],
)
def test_company_size_is_the_least_possible_number(text: Any, value: int | None) -> None:
    assert headcount(text) == value


def test_unclear_consent_is_none() -> None:
    assert [boolean(word) for word in ("on", "Yes", "1", 1, True)] == [True] * 5
    assert [boolean(word) for word in ("off", "No", "0", 0, False)] == [False] * 5
    unsure: list[Any] = ["perhaps", 2, None, []]
    assert [boolean(word) for word in unsure] == [None] * 4
