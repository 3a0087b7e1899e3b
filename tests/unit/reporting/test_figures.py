"""The figures of the response report, computed in the database and by hand."""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import asdict

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage.sqlite_engines import writer_engine
from services.reporting.domain.response import ProspectRequest
from services.reporting.figures import KEYS, figures
from services.reporting.responses import responses
from tests.empty_tables import create_tables

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE_US = 60_000_000


def requests(count: int) -> list[ProspectRequest]:
    """Return requests of the last 300 days with every kind of response."""
    chance = random.Random(7)
    rows = []
    for n in range(count):
        submit = NOW - timedelta(minutes=chance.choice((1, 60, 1440)) * chance.randrange(300))
        minutes = chance.choice((None, 0, 30, 60, 61, chance.randrange(20_000)))
        touched = None if minutes is None else micros(submit) + minutes * MINUTE_US
        left = micros(submit) + MINUTE_US if chance.random() < 0.2 else None
        rows.append(
            ProspectRequest(
                lead_id=f"l{n}",
                submit_at=micros(submit) + n,
                urgency=chance.choice(("hot", "warm")),
                source=chance.choice(("web", "fair", None)),
                rep=chance.choice(("ana", "bo", None)),
                touched_at=None if touched is None else touched + n,
                working_us=None if minutes is None else minutes * MINUTE_US // 3,
                hour_at=micros(submit + 3 * HOUR),
                left_at=left,
                attempts=chance.randrange(3),
                conversations=chance.randrange(2),
                held_at=chance.choice((None, micros(submit))),
            )
        )
    return rows


def key_of(row: ProspectRequest, by: str, zone: ZoneInfo) -> Any:
    local = moment(row.submit_at).astimezone(zone)
    if by == "day":
        return (local.date() - datetime(1970, 1, 1).date()).days
    return {"weekday": local.weekday(), "hour": local.hour, "all": ""}.get(by, getattr(row, by, None))


def by_hand(rows: Iterable[ProspectRequest]) -> dict[str, Any]:
    """Count the figures of one group."""
    rows = list(rows)
    raw = sorted(r.touched_at - r.submit_at for r in rows if r.touched_at is not None)
    working = sorted(r.working_us for r in rows if r.working_us is not None)
    waiting = [r for r in rows if r.touched_at is None and r.left_at is None]

    def rank(values: list[int], share: float) -> int | None:
        return values[ceil(share * len(values)) - 1] if values else None

    return {
        "requests": len(rows),
        "pending": sum(moment(r.submit_at) > NOW - HOUR for r in waiting),
        "touched": len(raw),
        "left": sum(r.touched_at is None and r.left_at is not None for r in rows),
        "attempts": sum(r.attempts for r in rows),
        "conversations": sum(r.conversations for r in rows),
        "reached": sum(r.conversations > 0 for r in rows),
        "held": sum(r.held_at is not None for r in rows),
        "within": sum(us <= 60 * MINUTE_US for us in raw),
        "average": pytest.approx(sum(raw) / len(raw)) if raw else None,
        "median": rank(raw, 0.5),
        "p90": rank(raw, 0.9),
        "working_pending": sum(moment(r.hour_at or 0) > NOW for r in waiting),
        "working_within": sum(us <= 60 * MINUTE_US for us in working),
        "working_average": pytest.approx(sum(working) / len(working)) if working else None,
        "working_median": rank(working, 0.5),
        "working_p90": rank(working, 0.9),
    }


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_figures_equal_a_hand_count(tmp_path: Path, zone: str) -> None:
    rows, since = requests(1_000), NOW - timedelta(days=200)
    create_tables(tmp_path / "f.db")
    engine = writer_engine(tmp_path / "f.db")
    with engine.begin() as connection:
        connection.execute(responses.insert(), [asdict(row) for row in rows])
        for by in ("all", *KEYS):
            groups = defaultdict(list)
            for row in rows:
                if moment(row.submit_at) >= since and moment(row.submit_at) <= NOW:
                    groups[key_of(row, by, ZoneInfo(zone))].append(row)
            found = {row.key: row for row in figures(connection, by, since, NOW, ZoneInfo(zone))}
            assert found.keys() == groups.keys()
            for key, group in groups.items():
                expected = by_hand(group)
                assert {name: getattr(found[key], name) for name in expected} == expected, (by, key)
    engine.dispose()
