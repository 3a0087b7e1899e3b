"""Streams whose people come back: a made-up one, and the real one moved to the days before today."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

FORMS: Final = ("demo-request", "pricing", "newsletter")
BETWEEN: Final = timedelta(minutes=47)
TOLD_LATE: Final = timedelta(days=5)  # longer than the span of any limit of a rule


def write_returning(file: Path, rows: int, people: int, last: datetime) -> Path:
    """A CSV of people who submit several forms until `last`, often at once: in capitals and not, some of it told of late,
    some of them with a telephone and no address. The same each time, but for `last`."""
    chance = random.Random(7)
    with file.open("w", newline="") as lines:
        write = csv.writer(lines).writerow
        write(["id", "email", "phone", "name", "employees", "amount", "form", "submitted_at"])
        person = 0
        for n in range(rows):
            person = person if chance.random() < 0.5 else chance.randrange(people)
            at = last - (rows - 1 - n) * BETWEEN - (TOLD_LATE if chance.random() < 0.15 else timedelta())
            address = "" if person % 10 == 9 else f"person{person}@company{person % 37}.example"
            phone = "" if address else f"+49301{person:06}"
            address = address.upper() if chance.random() < 0.3 else address
            form = chance.choice(FORMS)
            employees, amount = (person * 7919) % 4000 + 1, chance.randrange(20_000)
            write([n, address, phone, f"Person {person}", employees, amount, form, at.isoformat()])
    return file


def write_moved(file: Path, stream: Path, last: datetime) -> Path:
    """The same stream, so much later that its last row is of the moment `last`: what is years old counts nothing."""
    with stream.open(newline="") as lines:
        reader = csv.DictReader(lines)
        names, rows = list(reader.fieldnames or ()), list(reader)
    later = last - max(_moment(row) for row in rows)
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, names)
        writer.writeheader()
        writer.writerows(row | {"submitted_at": (_moment(row) + later).isoformat()} for row in rows)
    return file


def _moment(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["submitted_at"]).astimezone(UTC)
