"""Columns of a list: the column of errors of an earlier import."""

from pathlib import Path

import pytest

from tests.unit.operations.importing.lists import events, write


@pytest.mark.parametrize(
    ("content", "person"),
    [
        ("firsthour_error,email,first_name\nx,ann@acme.example,Ann\n", {"first_name": "Ann"}),
        (
            "email,firsthour_error,first_name\nann@acme.example,x,Ann\n",
            {"first_name": "Ann", "custom.firsthour_error": "x"},
        ),
    ],
    ids=["first", "moved by a person"],
)
def test_each_cell_stays_with_its_column(tmp_path: Path, content: str, person: dict[str, str]) -> None:
    [[event]] = events(write(tmp_path, content))
    assert (event["email"], event["data"]) == ("ann@acme.example", person)
