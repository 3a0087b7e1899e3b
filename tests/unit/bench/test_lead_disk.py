"""The disk of a lead: bytes by table with their indexes, and the share of one lead."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from firsthour.bench.lead_disk import lines_of, sizes_of


def test_bytes_of_a_table_include_its_indexes(tmp_path: Path) -> None:
    file = tmp_path / "sample.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE people (name TEXT PRIMARY KEY, age INTEGER)")
        connection.execute("CREATE INDEX by_age ON people (age)")
    sizes = sizes_of(file)
    page = sizes[""] // 4  # the schema, the table, its key and its index
    assert sizes in (Counter({"": 4 * page, "people": 3 * page}), Counter({"": 4 * page}))


def test_lines_have_the_bytes_of_one_lead_and_leave_out_small_tables() -> None:
    lines = lines_of(Counter({"": 20_000, "log": 12_000, "history": 7_960, "small": 40}), 2)
    assert [(line.name.rpartition(": ")[2], line.value) for line in lines[1:]] == [("log", 6.0), ("history", 3.98)]
    assert (lines[0].value, lines[0].ok) == (10.0, True)
