"""The rows of a file, hostile ones included."""

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from firsthour.operations.importing.csv_format import CsvFormat, UnreadableFileError, inspect
from firsthour.operations.importing.csv_rows import CELL_CHARS_MAX, CsvRecord, records
from tests.unit.operations.importing.lists import write

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def rows(place: Path, content: str | bytes) -> list[CsvRecord]:
    return list(records(inspect(write(place, content))))


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5), st.sampled_from(",;|"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_that_python_writes_are_read(tmp_path: Path, table: list[tuple[str, str, str]], separator: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([("a", "b", "c"), *table])
    read = rows(tmp_path, text.getvalue())
    assert [row.cells for row in read] == [cells for cells in table if any(cells)]
    assert [row.fault for row in read] == [""] * len(read)


@given(st.binary(max_size=200), st.sampled_from([None, "utf-8", "utf-16", "cp1252"]))
@example(b"a,b\n\xff\xfe\n", "utf-16")
@example(b"\xff\xfea\x00\n\x00\xd8", None)
@example(b'a\n"\n"\n\n', None)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_are_rows_or_faulty_rows_or_no_list(tmp_path: Path, content: bytes, encoding: str | None) -> None:
    try:
        file = inspect(write(tmp_path, content), encoding)
    except UnreadableFileError:
        return
    read = list(records(file))
    assert [row.number for row in read] == list(range(1, len(read) + 1))
    assert all(row.fault or len(row.cells) == len(file.header) for row in read)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("Ann", "has 1 columns, the header has 2"),
        ("Ann,b,c", "has 3 columns"),
        ('"Ann" Lee,b', "is not CSV"),
        ("A\0nn,b", "NUL"),
        (f"{'x' * (CELL_CHARS_MAX + 1)},b", "more than 10,000 characters"),
        (f"{'x' * 140_000},b", "quotation mark"),
        (f"{'x' * 10_000_000},b", "longer than 1,000,000 characters"),
    ],
    ids=lambda value: value[:20],
)
def test_faulty_row_does_not_end_the_file(tmp_path: Path, line: str, fault: str) -> None:
    first, faulty, last = rows(tmp_path, f"a,b\n1,2\n{line}\n3,4\n")
    assert (first.cells, last.cells, last.line) == (("1", "2"), ("3", "4"), 4)
    assert fault in faulty.fault
    assert "; " in faulty.fault


@pytest.mark.parametrize(
    "rest",
    ["3,4\n" * 40_000, "3,4\n" * 3_000 + '"5",6\n' + "3,4\n", "3,4\n" * 3_000 + '5,"6"\n' + "3,4\n", "3,4\n" * 2],
    ids=["beyond-a-field", "closed-by-a-quote", "closed-and-a-cell", "until-the-end"],
)
def test_unclosed_quote_takes_no_other_row(tmp_path: Path, rest: str) -> None:
    read = rows(tmp_path, 'a,b\n1,"2\n' + rest)
    assert [(row.line, row.cells) for row in read if row.fault] == [(2, ('1,"2',))]
    assert [row.line for row in read] == list(range(2, rest.count("\n") + 3))


def test_blank_rows_and_blank_cells_at_the_end_are_left_out(tmp_path: Path) -> None:
    assert [row.cells for row in rows(tmp_path, "a,b\n\n,\n1,2,,\n")] == [("1", "2")]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        file = inspect(write(tmp_path, "a,b\n" + f"{'x' * 100},{'y' * 100}\n" * count))
        tracemalloc.start()
        for _ in records(file):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(20_000) < peak(1_000) + 100_000


def test_shape_of_a_file_is_shown(tmp_path: Path) -> None:
    file: CsvFormat = inspect(write(tmp_path, "a;b\n"))
    assert str(file) == "encoding utf-8, separator semicolon, 2 columns"
