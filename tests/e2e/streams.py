"""Streams with several forms per person: a generated one, and the real one moved to the days before today."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

FORMS: Final = ("demo-request", "pricing", "newsletter")
BETWEEN: Final = timedelta(minutes=47)
LATE_BY: Final = timedelta(days=5)  # longer than the span of any limit of a rule


def write_returning(file: Path, rows: int, people: int, last: datetime) -> Path:
    """Write a CSV of people who submit several forms. The last row has the time `last`. Calls with the same
    arguments write the same rows.

    Some addresses are in capitals, some rows are older than the rows before them, and some people have a phone number and no
    address.
    """
    chance = random.Random(7)
    with file.open("w", newline="") as lines:
        write = csv.writer(lines).writerow
        write(["id", "email", "phone", "name", "employees", "amount", "form", "submitted_at"])
        person = 0
        for n in range(rows):
            person = person if chance.random() < 0.5 else chance.randrange(people)
            at = last - (rows - 1 - n) * BETWEEN - (LATE_BY if chance.random() < 0.15 else timedelta())
            address = "" if person % 10 == 9 else f"person{person}@company{person % 37}.example"
            phone = "" if address else f"+49301{person:06}"
            address = address.upper() if chance.random() < 0.3 else address
            form = chance.choice(FORMS)
            employees, amount = (person * 7919) % 4000 + 1, chance.randrange(20_000)
            write([n, address, phone, f"Person {person}", employees, amount, form, at.isoformat()])
    return file


def write_moved(file: Path, stream: Path, last: datetime) -> Path:
    """Write the stream with later times, the last of which is `last`, because events that are years old have no points."""
    with stream.open(newline="") as lines:
        reader = csv.DictReader(lines)
        names, rows = list(reader.fieldnames or ()), list(reader)
    shift = last - max(_moment(row) for row in rows)
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, names)
        writer.writeheader()
        writer.writerows(row | {"submitted_at": (_moment(row) + shift).isoformat()} for row in rows)
    return file


def _moment(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["submitted_at"]).astimezone(UTC)
