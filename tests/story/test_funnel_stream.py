"""The funnel of the real stream equals the log of the data set: a Dutch bank's applications with all that became of them."""

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.processes import ROOT
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

LOG: Final = ROOT.parent / "shared" / "data" / "bpi2012" / "events.csv.gz"
FIRST_CASES: Final = 60
AT_ONCE: Final = 200
STAGES: Final = {
    "A_PREACCEPTED": "preaccepted",
    "A_ACCEPTED": "accepted by the bank",
    "O_SENT": "offer sent",
    "O_ACCEPTED": "offer accepted",
}
CLOSED: Final = {"A_ACTIVATED": "won", "A_DECLINED": "lost", "A_CANCELLED": "lost"}
_HELD: Final = ["assigned", "accepted", "working"]
LIFECYCLE: Final = {
    "stages": list(STAGES.values()),
    "transitions": [
        {"from": ["new", "nurturing"], "to": "qualified", "by": "system"},
        {"from": "qualified", "to": "assigned", "by": "system"},
        {"from": "assigned", "to": "accepted", "by": "owner"},
        {"from": ["assigned", "accepted"], "to": "working", "by": "system", "when": "touched"},
        {"from": _HELD, "to": "qualified", "by": ["system", "manager"], "as": "reassign"},
        {"from": ["nurturing", *_HELD], "to": "opportunity", "by": "system"},
        {"from": "opportunity", "to": "customer", "by": "system"},
        {
            "from": ["qualified", *_HELD, "opportunity"],
            "to": "nurturing",
            "by": ["owner", "system"],
            "as": "recycle",
            "reason": ["lost", "no-answer"],
        },
        {"from": "any", "to": "opted-out", "by": "anyone"},
    ],
}
"""The bank can decline an application at once: it is lost before a person was in touch."""

Case = list[tuple[datetime, str]]
"""The activities of one application, the first of each kind, in the order of the log."""


def read_cases() -> dict[str, Case]:
    """Return the applications of the log. Work on an application that has begun is a touch."""
    cases: dict[str, Case] = defaultdict(list)
    names: set[tuple[str, str]] = set()
    with gzip.open(LOG, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            is_touch = row["activity"].startswith("W_") and row["transition"] == "START"
            name = "touch" if is_touch else row["activity"]
            if (name == "touch" or name in {"A_SUBMITTED", *STAGES, *CLOSED}) and (row["case_id"], name) not in names:
                names.add((row["case_id"], name))
                cases[row["case_id"]].append((datetime.fromisoformat(row["timestamp"]).astimezone(UTC), name))
    return dict(cases)


def event_of(case: str, name: str, at: datetime) -> Mapping[str, Any]:
    """Return the event that reports an activity."""
    body = {"id": f"{case}-{name}", "time": at.isoformat(), "email": f"applicant@household{case}.example"}
    if name == "A_SUBMITTED":
        return {**body, "type": "form.submitted", "data": {"form": "demo-request"}}
    if name == "touch":
        return {**body, "type": "touch.recorded", "data": {"channel": "phone", "answered": True}}
    return {**body, "type": "opportunity.changed", "data": {"stage": {**STAGES, **CLOSED}[name]}}


async def post(world: World, cases: Mapping[str, Case]) -> None:
    """Post all activities in the order of their times, moved so that the last one is a day ago."""
    activities = sorted((at, n, case, name) for case, rows in cases.items() for n, (at, name) in enumerate(rows))
    shift = world.clock.business() - timedelta(days=1) - activities[-1][0]
    events = [event_of(case, name, at + shift) for at, _, case, name in activities]
    for first in range(0, len(events), AT_ONCE):
        answer = await world.post_events(*events[first : first + AT_ONCE], role="manager")
        assert answer.status_code == 202, answer.text
        await world.settle()


async def check(open_world: OpenWorld, cases: Mapping[str, Case]) -> None:
    """Post these applications, and compare the funnel with a count of the log."""
    team = reps(*({"id": rep, "capacity": {"open": 1_000_000}} for rep in ("ana", "bo", "cy")))
    ladder = [{"at": "0m", "page": "owner", "by": ["inbox"]}]
    agreement = {"lifecycle": LIFECYCLE, "recycle": None, "response": {"ladder": ladder, "reassign_at_most": None}}
    world = await open_world(team=team, agreement=agreement, channels=("inbox",))
    await post(world, cases)
    logged = Counter(name for rows in cases.values() for _, name in rows)
    lost = sum(any(CLOSED.get(name) == "lost" for _, name in rows) for rows in cases.values())

    report = await world.get("/v1/reports/funnel?from=300d&by=cohort&per=month")
    counted = {step["step"]: step["reached"] for step in report["total"]["steps"]}
    assert counted["new"] == counted["qualified"] == logged["A_SUBMITTED"] == len(cases)
    assert counted["touch:attempt"] == counted["touch:conversation"] == logged["touch"]
    for activity, stage in STAGES.items():
        assert counted[f"stage:{stage}"] == logged[activity], activity
    assert counted["customer"] == logged["A_ACTIVATED"]
    assert report["cycles"]["ended_by"] == {"lost": lost}
    assert sum(item["entered"] for item in report["items"]) == len(cases)
    step = next(row for row in report["total"]["steps"] if row["step"] == "stage:preaccepted")
    both = [{name for _, name in rows} for rows in cases.values()]
    assert step["converted"] == sum({"A_PREACCEPTED", "A_ACCEPTED"} <= names for names in both)
    spans = [span for rows in cases.values() if (span := _span({name: at for at, name in rows})) is not None]
    assert step["median_seconds"] == round(sorted(spans)[(len(spans) - 1) // 2], 3)


def _span(times: Mapping[str, datetime]) -> float | None:
    if not {"A_PREACCEPTED", "A_ACCEPTED"} <= times.keys():
        return None
    return max((times["A_ACCEPTED"] - times["A_PREACCEPTED"]).total_seconds(), 0)


@pytest.fixture
def cases() -> dict[str, Case]:
    """Return all applications of the log."""
    if not Path(LOG).exists():
        pytest.skip("the real stream is missing; random histories are tested")
    return read_cases()


async def test_funnel_of_the_first_applications_equals_their_log(open_world: OpenWorld, cases: dict[str, Case]) -> None:
    await check(open_world, dict(list(cases.items())[:FIRST_CASES]))


@pytest.mark.stream
@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_funnel_of_all_applications_equals_their_log(open_world: OpenWorld, cases: dict[str, Case]) -> None:
    assert len(cases) == 7_455
    await check(open_world, cases)
