"""One stream ends in the same scores, leads and totals per pool in one process and over Kafka and PostgreSQL."""

import asyncio
import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests.e2e.distributed import distributed
from tests.e2e.outcome import POOLS, LeadOutcome, outcome
from tests.e2e.processes import ProcessInstallation, replay, until, write_config
from tests.e2e.replay import main
from tests.e2e.streams import write_moved, write_returning
from tests.shared import named

DATABASE = named("replayed")
LARGE_SUM = {"custom.amount": {"gte": 15_000}}
LARGE_COMPANY = {"company.employees": {"gte": 2_000}}
AGREEMENT: dict[str, Any] = {
    "version": 1,
    "scoring": {
        "fit": {
            "rules": [
                {"points": 60, "because": "A large sum", "when": LARGE_SUM},
                {"points": 15, "because": "A large company", "when": LARGE_COMPANY},
            ]
        },
        "engagement": {
            "half_life": "3650d",  # so that minutes do not show, see `outcome`
            "rules": [
                {"points": 20, "because": "Asked", "on": "form.submitted", "when": {"form": "demo-request"}},
                {
                    "points": 9,
                    "because": "Read about prices",
                    "on": "form.submitted",
                    "when": {"form": "pricing"},
                    "at_most": {"times": 1, "per": "4d"},
                },
                {"points": 2, "because": "Reads our letters", "on": "form.submitted", "when": {"form": "newsletter"}},
            ],
        },
    },
    "qualify": [
        {"name": "A large sum", "urgency": "hot", "on": "form.submitted", "when": {"fit": {"gte": 50}}},
        {"name": "A sum", "urgency": "warm", "on": "form.submitted", "when": {"custom.amount": {"gte": 5_000}}},
        {"name": "Comes back", "urgency": "warm", "when": {"engagement": {"gte": 30}}},
    ],
    "response": {
        "hot": {"touch_within": "400d"},
        "warm": {"touch_within": "500d"},
        "ladder": [{"at": "0m", "page": "owner", "by": ["inbox"]}],
    },
}
EVERYWHERE = {(None, "new"), ("large", "assigned"), ("growth", "assigned"), ("growth", "qualified")}


def configure(directory: Path, large: Mapping[str, Any], growth: int) -> Path:
    """Write two pools of five reps each, without a common rep.

    The pool `large` has capacity for all leads of the condition `large`. Each rep of the pool `growth` has capacity `growth`.
    The condition must use facts of a person that never change: a lead that waits for a full pool is routed again with its
    current facts, so with other facts its pool would depend on the order of the events.
    """
    reps = [
        {"id": f"rep{n}", "name": f"Rep {n}", "email": f"rep{n}@s.example", "capacity": {"open": room}}
        for n, room in enumerate([5_000] * 5 + [growth] * 5)
    ]
    names = [str(rep["id"]) for rep in reps]
    rules = [{"name": "Large", "when": large, "pool": "large"}, {"name": "Everybody else", "pool": "growth"}]
    agreement = AGREEMENT | {"routing": {"rules": rules}}
    return write_config(directory, agreement, reps, {"large": names[:5], "growth": names[5:]})


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """An empty database for one test."""
    postgres.drop(DATABASE)
    yield postgres.create(DATABASE)
    postgres.drop(DATABASE)


def in_one_process(file: Path, config: Path, directory: Path, *more: str, parts_of_one_in: int) -> LeadOutcome:
    """Return the outcome of the whole file on the embedded profile, after a clean `verify`."""
    log = directory / "one.jsonl"
    with ProcessInstallation(config, directory / "one") as installation:
        assert replay(file, installation, log, *more) == 0, log.with_suffix(".output").read_text()
        until(installation.quiet, 120.0, "all records are read")
        pools = installation.rows(POOLS)
        result = asyncio.run(outcome(installation.url, pools, parts_of_one_in=parts_of_one_in))
        assert installation.stop() == 0
        code, output = installation.verify()
    assert code == 0, output
    return result


async def in_several(
    file: Path, config: Path, directory: Path, database: str, kafka: str, *more: str, parts_of_one_in: int
) -> LeadOutcome:
    """Return the outcome over Kafka and PostgreSQL with two replicas of each service, after a clean `verify`."""
    log = directory / "several.jsonl"
    async with distributed(directory / "several", config, database, kafka) as installation:
        code = await asyncio.to_thread(replay, file, installation, log, *more)
        assert code == 0, log.with_suffix(".output").read_text()
        await installation.settle(120.0)
        pools = await installation.rows(POOLS)
        result = await outcome(installation.url, pools, parts_of_one_in=parts_of_one_in)
        assert await installation.idle() == []
        await installation.stop()
    return result


def both(
    file: Path, config: Path, directory: Path, database: str, kafka: str, *more: str, parts_of_one_in: int = 1
) -> LeadOutcome:
    """Return the outcome, which must be the same on both profiles."""
    one = in_one_process(file, config, directory, *more, parts_of_one_in=parts_of_one_in)
    several = asyncio.run(in_several(file, config, directory, database, kafka, *more, parts_of_one_in=parts_of_one_in))
    assert several.differences(one) == []
    return several


def yesterday() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.mark.timeout(240)
def test_returning_people_have_the_same_outcome_on_both_profiles(
    tmp_path: Path, database: str, kafka: KafkaCluster
) -> None:
    file = write_returning(tmp_path / "stream.csv", 120, 50, yesterday())
    came: dict[str, set[datetime]] = defaultdict(set)
    with file.open() as lines:
        for row in csv.DictReader(lines):
            came[row["email"].lower() or row["name"]].add(datetime.fromisoformat(row["submitted_at"]))
    config = configure(tmp_path / "config", LARGE_COMPANY, 2)
    more = ("--keep-times", "--map", "form=form", "--map", "amount=amount")
    result = both(file, config, tmp_path, database, kafka.bootstrap, *more)
    assert {name: {datetime.fromisoformat(part.at) for part in lead.did} for name, lead in result.leads.items()} == came
    assert any(not part.counted for lead in result.leads.values() for part in lead.did)
    assert set(result.pools) == EVERYWHERE


@pytest.mark.long
@pytest.mark.stream
@pytest.mark.timeout(600)
def test_real_stream_has_the_same_outcome_on_both_profiles(
    stream: Path, tmp_path: Path, database: str, kafka: KafkaCluster
) -> None:
    file = write_moved(tmp_path / "stream.csv", stream, yesterday())
    config = configure(tmp_path / "config", LARGE_SUM, 300)
    more = ("--keep-times", "--map", "amount=amount_req")
    result = both(file, config, tmp_path, database, kafka.bootstrap, *more, parts_of_one_in=10)
    assert len(result.leads) == 7_455
    with_parts = [lead for lead in result.leads.values() if lead.parts is not None]
    assert len(with_parts) > 500
    assert all(len(lead.did) == 1 for lead in with_parts)
    assert set(result.pools) == EVERYWHERE


def test_missing_file_is_reported_before_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "leads.csv")]) == 2
    assert "leads.csv: No such file or directory; name a CSV file" in capsys.readouterr().err
