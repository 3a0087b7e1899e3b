"""A stream of applications, posted in its order: each is accepted, each lead has an owner, and a second run agrees."""

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
    """Return the values of a replay that must be the same the next time."""

    statuses: Counter[str]
    owners: Counter[str]
    queues: Counter[str]
    owner_of: dict[str, str | None]


def configure(directory: Path, capacity: int, *, shared: bool) -> Path:
    """Two pools of ten; `shared`: with reps who are in both, so that who gets what hangs on the order."""
    reps = [
        {"id": f"rep{n:02}", "name": f"Rep {n}", "email": f"rep{n:02}@s.example", "capacity": {"open": capacity}}
        for n in range(20)
    ]
    names = [str(rep["id"]) for rep in reps]
    pools = {"large": names[:10], "growth": names[5:] if shared else names[10:]}
    return write_config(directory, AGREEMENT, reps, pools)


def posted(file: Path, config: Path, directory: Path, *more: str) -> ReplayOutcome:
    """Post the whole file into a fresh installation, check what must hold of any stream, and say what came of it."""
    directory.mkdir()
    with file.open() as lines:
        rows = sum(1 for _ in csv.DictReader(lines))
    log = directory / "acknowledged.jsonl"
    with ProcessInstallation(config, directory / "data") as installation:
        assert replay(file, installation, log, *more) == 0, log.with_suffix(".said").read_text()
        until(installation.quiet, 120.0, "everything taken")
        leads = installation.leads()
        counted = {item["status"]: item["leads"] for item in installation.get("/v1/reports/statuses")["items"]}
        assert installation.stop() == 0
        code, said = installation.verify()
    assert code == 0, said
    assert len({line["id"] for line in json_lines(log)}) == len(json_lines(log)) == rows
    assert len(leads) == rows
    for lead in leads:
        homes = (lead["owner"] is not None, lead["queue"] is not None, lead["status_team"] == "marketing")
        assert sum(homes) == 1, lead
        assert lead["queue"] is None or lead["queue"]["reason"]
    outcome = ReplayOutcome(
        Counter(lead["status"] for lead in leads),
        Counter(lead["owner"]["id"] for lead in leads if lead["owner"]),
        Counter(lead["queue"]["pool"] for lead in leads if lead["queue"]),
        {lead["email"]: lead["owner"] and lead["owner"]["id"] for lead in leads},
    )
    assert {status: n for status, n in counted.items() if n} == outcome.statuses
    return outcome


@pytest.mark.timeout(240)
def test_stream_posted_twice_in_order_gives_the_same_owners(tmp_path: Path) -> None:
    file = write_stream(tmp_path / "stream.csv", 500)
    config = configure(tmp_path / "config", 18, shared=True)
    more = ("--concurrency", "1", "--map", "amount=amount")
    one, other = (posted(file, config, tmp_path / name, *more) for name in ("one", "other"))
    assert one == other
    assert len(one.owners) == 20
    assert set(one.statuses) == {"new", "qualified", "assigned"}


@pytest.mark.long
@pytest.mark.stream
@pytest.mark.timeout(600)
def test_real_stream_posted_twice_gives_the_same_complete_result(stream: Path, tmp_path: Path) -> None:
    config = configure(tmp_path / "config", 200, shared=False)
    more = ("--map", "amount=amount_req")
    one, other = (posted(stream, config, tmp_path / name, *more) for name in ("one", "other"))
    assert sum(one.statuses.values()) == 7_455
    assert (one.statuses, one.owners, one.queues) == (other.statuses, other.owners, other.queues)
    assert set(one.statuses) == {"new", "qualified", "assigned"}


@pytest.mark.timeout(240)
def test_stream_posted_again_to_one_installation_changes_nothing(tmp_path: Path) -> None:
    file = write_stream(tmp_path / "stream.csv", 60)
    log = tmp_path / "acknowledged.jsonl"
    with ProcessInstallation(configure(tmp_path / "config", 18, shared=True), tmp_path / "data") as installation:
        assert replay(file, installation, log) == 0
        until(installation.quiet, 60.0, "everything taken")
        before = installation.leads()
        assert replay(file, installation, log) == 0
        until(installation.quiet, 60.0, "everything taken")
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
    said = log.with_suffix(".said").read_text()
    assert sorted(line["line"] for line in json_lines(log)) == [2, 3, 10]
    for line in (
        "leads.csv:5: 422",
        "leads.csv:6: has 2 columns, the header 3",
        "leads.csv:7: has the id of line 2",
        "leads.csv:8: is not UTF-8",
    ):
        assert line in said


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "module", ["firsthour.operations.replay.command", "tests.e2e.replay"], ids=["embedded", "distributed"]
)
def test_replay_without_url_uses_a_temporary_installation_without_our_settings(
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
    said = json.loads(done.stdout)
    assert (said["accepted"], said["verify"], said["bad"]) == (60, "clean", [])
    leads = said["leads"]
    assert (leads["all"], leads["owned"] + leads["queued"], leads["marketing"]) == (60, 60, 0)


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, (), "leads.csv: No such file or directory; name a CSV file"),
        ("", (), "leads.csv:1: has no header"),
        ("id,email\n", ("--email", "Mail"), "leads.csv:1: there is no column `Mail`; there are: id, email"),
        ("id,email\n", ("--keep-times",), "leads.csv:1: --keep-times needs a column of times"),
        ("id,email\n", ("--map", "company"), "--map company: is not FIELD=COLUMN; write for example company=Firm"),
    ],
)
def test_unreadable_file_is_reported_before_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, arguments: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "leads.csv"
    if content is not None:
        file.write_text(content)
    assert main([str(file), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_times_of_the_file_are_sent_only_on_request(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("id,submitted_at,Employees,score\n1,2011-10-01 09:36:46+02:00,400,007\n2,soon,50,7\n")
    (now, _) = Source(file)
    assert isinstance(now, CsvRow)
    assert json.loads(now.body) == {
        "id": "leads:1",
        "type": "form.submitted",
        "email": "1@applicant.example",
        "data": {"form": "demo-request", "employees": "400"},
    }
    kept, wrong = Source(file, RowOptions(keep_times=True, fields={"score": "score"}))
    assert isinstance(kept, CsvRow)
    assert json.loads(kept.body)["time"] == "2011-10-01T09:36:46+02:00"
    assert json.loads(kept.body)["data"]["score"] == "007"
    assert wrong == BadRow(3, "has no time in `submitted_at`; write 2026-12-01T09:00:00Z")
