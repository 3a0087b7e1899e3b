"""The replay of a CSV file: each row is accepted, each lead has one place, and a second replay has the same result."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from firsthour.operations.replay.command import main
from firsthour.operations.replay.rows import BadRow, CsvRow, RowOptions, Source
from tests.e2e.processes import (
    ROOT,
    ProcessInstallation,
    environment,
    json_lines,
    replay,
    until,
    write_config,
    write_stream,
)

AGREEMENT: dict[str, Any] = {
    "version": 1,
    "scoring": {
        "fit": {
            "rules": [{"points": 60, "because": "A large sum", "when": {"custom.amount": {"gte": 15_000}}}],
        }
    },
    "qualify": [
        {"name": "A large sum", "urgency": "hot", "on": "form.submitted", "when": {"fit": {"gte": 50}}},
        {
            "name": "Asked for something",
            "urgency": "warm",
            "on": "form.submitted",
            "when": {"custom.amount": {"gte": 5_000}},
        },
    ],
    "routing": {
        "rules": [
            {"name": "Large sums", "when": {"custom.amount": {"gte": 15_000}}, "pool": "large"},
            {"name": "Everybody else", "pool": "growth"},
        ]
    },
    "response": {
        "hot": {"touch_within": "30d"},
        "warm": {"touch_within": "30d"},
        "ladder": [{"at": "0m", "page": "owner", "by": ["inbox"]}],
    },
}


class ReplayOutcome(NamedTuple):
    """The result of a replay. A second replay must have the same."""

    statuses: Counter[str]
    owners: Counter[str]
    queues: Counter[str]
    owner_of: dict[str, str | None]


def configure(directory: Path, capacity: int, *, shared: bool) -> Path:
    """Write two pools. `shared`: five reps are in both, so that the owners depend on the order of the rows."""
    reps = [
        {"id": f"rep{n:02}", "name": f"Rep {n}", "email": f"rep{n:02}@s.example", "capacity": {"open": capacity}}
        for n in range(20)
    ]
    names = [str(rep["id"]) for rep in reps]
    pools = {"large": names[:10], "growth": names[5:] if shared else names[10:]}
    return write_config(directory, AGREEMENT, reps, pools)


def replay_outcome(file: Path, config: Path, directory: Path, *more: str) -> ReplayOutcome:
    """Replay the whole file into a new installation, check the conditions of any stream, and return the result."""
    directory.mkdir()
    with file.open() as lines:
        rows = sum(1 for _ in csv.DictReader(lines))
    log = directory / "acknowledged.jsonl"
    with ProcessInstallation(config, directory / "data") as installation:
        assert replay(file, installation, log, *more) == 0, log.with_suffix(".output").read_text()
        until(installation.quiet, 120.0, "all records are read")
        leads = installation.leads()
        counts = {item["status"]: item["leads"] for item in installation.get("/v1/reports/statuses")["items"]}
        assert installation.stop() == 0
        code, output = installation.verify()
    assert code == 0, output
    assert len({line["id"] for line in json_lines(log)}) == len(json_lines(log)) == rows
    assert len(leads) == rows
    for lead in leads:
        places = (lead["owner"] is not None, lead["queue"] is not None, lead["status_team"] == "marketing")
        assert sum(places) == 1, lead
        assert lead["queue"] is None or lead["queue"]["reason"]
    outcome = ReplayOutcome(
        Counter(lead["status"] for lead in leads),
        Counter(lead["owner"]["id"] for lead in leads if lead["owner"]),
        Counter(lead["queue"]["pool"] for lead in leads if lead["queue"]),
        {lead["email"]: lead["owner"] and lead["owner"]["id"] for lead in leads},
    )
    assert {status: n for status, n in counts.items() if n} == outcome.statuses
    return outcome


@pytest.mark.timeout(240)
def test_second_replay_in_order_gives_the_same_owners(tmp_path: Path) -> None:
    file = write_stream(tmp_path / "stream.csv", 120)
    config = configure(tmp_path / "config", 4, shared=True)
    more = ("--concurrency", "1", "--map", "amount=amount")
    first, second = (replay_outcome(file, config, tmp_path / name, *more) for name in ("first", "second"))
    assert first == second
    assert len(first.owners) == 20
    assert set(first.statuses) == {"new", "qualified", "assigned"}


@pytest.mark.long
@pytest.mark.stream
@pytest.mark.timeout(600)
def test_second_replay_of_the_real_stream_has_the_same_totals(stream: Path, tmp_path: Path) -> None:
    config = configure(tmp_path / "config", 200, shared=False)
    more = ("--map", "amount=amount_req")
    first, second = (replay_outcome(stream, config, tmp_path / name, *more) for name in ("first", "second"))
    assert sum(first.statuses.values()) == 7_455
    assert (first.statuses, first.owners, first.queues) == (second.statuses, second.owners, second.queues)
    assert set(first.statuses) == {"new", "qualified", "assigned"}


@pytest.mark.timeout(240)
def test_second_replay_into_one_installation_changes_no_lead(tmp_path: Path) -> None:
    file = write_stream(tmp_path / "stream.csv", 60)
    log = tmp_path / "acknowledged.jsonl"
    with ProcessInstallation(configure(tmp_path / "config", 18, shared=True), tmp_path / "data") as installation:
        assert replay(file, installation, log) == 0
        until(installation.quiet, 60.0, "all records are read")
        before = installation.leads()
        assert replay(file, installation, log) == 0
        until(installation.quiet, 60.0, "all records are read")
        assert installation.leads() == before
        assert installation.rows("SELECT count(*) FROM log WHERE topic = 'events'") == [(120,)]


@pytest.mark.timeout(240)
def test_invalid_rows_are_reported_by_line_and_the_others_are_posted(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_bytes(
        b"Lead ID;E-Mail;Company\n"
        b"1;ann@acme.example;Acme\n"
        b'2;bo@acme.example;"Two\nlines"\n'
        b"3;not an address;Acme\n"
        b"4;cy@acme.example\n"
        b"1;dee@acme.example;Acme\n"
        b"5;\xff@acme.example;Acme\n"
        b"\n"
        b"6;eve@acme.example;Acme\n"
    )
    log = tmp_path / "acknowledged.jsonl"
    with ProcessInstallation(configure(tmp_path / "config", 18, shared=True), tmp_path / "data") as installation:
        assert replay(file, installation, log) == 1
    output = log.with_suffix(".output").read_text()
    assert sorted(line["line"] for line in json_lines(log)) == [2, 3, 10]
    for line in (
        "leads.csv:5: 422",
        "leads.csv:6: has 2 columns, the header 3",
        "leads.csv:7: has the id of line 2",
        "leads.csv:8: is not UTF-8",
    ):
        assert line in output


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "module",
    [
        pytest.param("firsthour.operations.replay.command", id="embedded"),
        pytest.param("tests.e2e.replay", id="distributed", marks=pytest.mark.long),
    ],
)
def test_replay_without_url_starts_an_installation_without_our_settings(
    tmp_path: Path, module: str, request: pytest.FixtureRequest
) -> None:
    if module == "tests.e2e.replay":
        for backend in ("kafka_here", "postgres_here"):
            request.getfixturevalue(backend)
    file = write_stream(tmp_path / "stream.csv", 60)
    done = subprocess.run(
        [sys.executable, "-m", module, str(file), "--json"],
        cwd=ROOT,
        env=environment(database_url="postgresql://a-real-one", slack_bot_token="xoxb-a-real-one"),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["accepted"], report["verify"], report["bad"]) == (60, "clean", [])
    leads = report["leads"]
    assert (leads["all"], leads["owned"] + leads["queued"], leads["marketing"]) == (60, 60, 0)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "leads.csv: No such file or directory; name a CSV file"),
        ("", (), "leads.csv:1: has no header"),
        ("id,email\n", ("--email", "Mail"), "leads.csv:1: there is no column `Mail`; there are: id, email"),
        ("id,email\n", ("--keep-times",), "leads.csv:1: --keep-times needs a column of times"),
        ("id,email\n", ("--map", "company"), "--map company: is not FIELD=COLUMN; write for example company=Firm"),
    ],
)
def test_unreadable_file_is_reported_before_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, arguments: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "leads.csv"
    if content is not None:
        file.write_text(content)
    assert main([str(file), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_times_of_the_file_are_sent_only_with_keep_times(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("id,submitted_at,Employees,score\n1,2011-10-01 09:36:46+02:00,400,007\n2,soon,50,7\n")
    (row, _) = Source(file)
    assert isinstance(row, CsvRow)
    assert json.loads(row.body) == {
        "id": "leads:1",
        "type": "form.submitted",
        "email": "1@applicant.example",
        "data": {"form": "demo-request", "employees": "400"},
    }
    timed_row, bad_row = Source(file, RowOptions(keep_times=True, fields={"score": "score"}))
    assert isinstance(timed_row, CsvRow)
    assert json.loads(timed_row.body)["time"] == "2011-10-01T09:36:46+02:00"
    assert json.loads(timed_row.body)["data"]["score"] == "007"
    assert bad_row == BadRow(3, "has no time in `submitted_at`; write 2026-12-01T09:00:00Z")
