"""Kills a whole installation at random moments of a replay, and judges the result from outside.

Usage: `python -m tests.e2e.kill --rows 7455 --kills 10 --seed 7` (or `--file cases.csv`). The test is a shorter run. The
judge reads the client's log of acknowledged rows, the messages at Slack, and the database.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from firsthour.runtime.storage.packing import unpacked
from tests.e2e.processes import (
    ProcessInstallation,
    SlackProcess,
    json_lines,
    replaying,
    until,
    write_config,
    write_stream,
)

REPS = 200  # Slack accepts a message per second for each; with fewer reps, pacing would prolong the run
OWNED_SHARE = 0.9  # of the leads; the others wait, because all reps are at capacity
QUIET_SECONDS = 300.0
AGREEMENT: dict[str, Any] = {
    "version": 1,
    "scoring": {},
    "qualify": [{"name": "Asked for us", "urgency": "hot", "on": "form.submitted"}],
    "routing": {"rules": [{"name": "Everybody", "pool": "all"}]},
    "response": {
        "hot": {"touch_within": "30d"},
        "ladder": [{"at": "0m", "page": "owner", "by": ["slack"]}],
        "reassign_at_most": 0,
    },
}


@dataclass(frozen=True)
class KillPlan:
    """The plan of a run. `serving`: the shortest and longest time from ready to the kill, in seconds."""

    file: Path
    kills: int
    seed: int
    serving: tuple[float, float] = (0.2, 2.0)


@dataclass
class KillReport:
    """The result of a run. The list of violations is empty if nothing is wrong."""

    rows: int = 0
    acknowledged: list[str] = field(default_factory=list)
    sent_again: int = 0  # events that came twice, because their first acknowledgement was lost
    kills: list[tuple[float, int, int]] = field(default_factory=list)  # at, rows acknowledged, pages arrived
    restarts: list[float] = field(default_factory=list)
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    owned: int = 0
    queued: int = 0
    repeated: int = 0  # pages that arrived more than once
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = "; ".join(f"{rows} rows, {pages} pages" for _, rows, pages in self.kills)
        return (
            f"{self.rows} rows, {len(self.acknowledged)} acknowledged, {self.sent_again} came twice; {self.owned} owned, "
            f"{self.queued} queued; {len(self.arrivals)} pages arrived, {self.repeated} more than once; "
            f"killed after: {kills}"
        )


def capacity_of(rows: int) -> int:
    """Return the capacity of each rep, such that most leads get an owner and some wait."""
    return max(1, int(rows * OWNED_SHARE / REPS))


def configure(directory: Path, rows: int) -> Path:
    """Write the configuration of the run."""
    reps: list[dict[str, Any]] = [
        {
            "id": f"rep{n}",
            "name": f"Rep {n}",
            "email": f"rep{n}@s.example",
            "slack": f"U{n:04}",
            "capacity": {"open": capacity_of(rows)},
        }
        for n in range(REPS)
    ]
    return write_config(directory, AGREEMENT, reps, {"all": [rep["id"] for rep in reps]})


def run(plan: KillPlan, directory: Path) -> KillReport:
    """Replay the file with kills and restarts, and judge the result."""
    report, chance = KillReport(), random.Random(plan.seed)
    with plan.file.open() as lines:
        report.rows = sum(1 for line in lines if line.strip()) - 1
    config = configure(directory / "config", report.rows)
    log = directory / "acknowledged.jsonl"
    with SlackProcess(directory / "slack.jsonl") as slack:
        settings = {"slack_bot_token": "xoxb-nobody-at-all", "slack_api_url": slack.url}
        with ProcessInstallation(config, directory / "data", settings) as installation:
            with replaying(plan.file, installation, log) as client:
                for _ in range(plan.kills):
                    time.sleep(chance.uniform(*plan.serving))
                    installation.kill()
                    report.kills.append((time.time(), len(json_lines(log)), len(slack.arrivals())))
                    report.restarts.append(time.time())
                    installation.start()
                code = client.wait(QUIET_SECONDS)
            until(installation.quiet, QUIET_SECONDS, "all records are read and all pages sent")
            report.acknowledged = [line["id"] for line in json_lines(log)]
            report.arrivals = slack.arrivals()
            if code != 0:
                report.broken.append(f"the client exited with {code}: {log.with_suffix('.output').read_text()[-2000:]}")
            report.broken += judge(installation, report)
            code = installation.stop()
            if code != 0:
                report.broken.append(f"exited with {code} after SIGTERM")
            code, output = installation.verify()
            if code != 0:
                report.broken.append(f"verify exits with {code}: {output[-2000:]}")
    return report


# --- the judge ----------------------------------------------------------------------------------------------------


def judge(installation: ProcessInstallation, report: KillReport) -> Iterator[str]:
    """Yield all violations."""
    yield from _events(installation, report)
    yield from _leads(installation, report)
    yield from _pages(installation, report)
    stopped = installation.rows("SELECT consumer, error FROM dead_letters")
    if stopped:
        yield f"dead letters: {stopped[:5]}"


def _events(installation: ProcessInstallation, report: KillReport) -> Iterator[str]:
    """Check that each acknowledged event is stored once and was scored once."""
    copies: Counter[str] = Counter()
    ours: dict[str, str] = {}
    for id, body in installation.rows("SELECT id, body FROM reporting_history WHERE topic = 'events'"):
        sent = json.loads(unpacked(body))["data"]["source_id"]
        copies[sent] += 1
        ours[sent] = id
    scored: Counter[str] = Counter(
        dict(
            installation.rows("SELECT cause, count(*) FROM reporting_history WHERE type = 'lead.scored' GROUP BY cause")
        )
    )
    ((logged, distinct),) = installation.rows(
        "SELECT count(*), count(DISTINCT event_id) FROM log WHERE topic = 'events'"
    )
    report.sent_again = logged - distinct
    if len(set(report.acknowledged)) != report.rows:
        yield f"{len(set(report.acknowledged))} of {report.rows} rows were acknowledged"
    for sent in report.acknowledged:
        if copies[sent] != 1:
            yield f"{sent}: acknowledged, and stored {copies[sent]} times"
        elif scored[ours[sent]] != 1:
            yield f"{sent}: scored {scored[ours[sent]]} times"
    if sum(scored.values()) != len(copies):
        yield f"{len(copies)} events, {sum(scored.values())} scores"


def _leads(installation: ProcessInstallation, report: KillReport) -> Iterator[str]:
    """Check that each person has one lead, owned or queued with a reason, and that no queued lead could have an owner."""
    leads = installation.leads()
    if len(leads) != report.rows or len({lead["email"] for lead in leads}) != report.rows:
        yield f"{report.rows} people, {len(leads)} leads"
    for lead in leads:
        waits = lead["queue"] is not None and lead["queue"]["reason"]
        if (lead["owner"] is None) == (not waits):
            yield f"{lead['id']}: {lead['status']}, owner {lead['owner']}, queue {lead['queue']}"
    report.owned = sum(lead["owner"] is not None for lead in leads)
    report.queued = len(leads) - report.owned
    room = min(report.rows, REPS * capacity_of(report.rows))
    if report.owned != room:
        yield f"{room} leads could have an owner, {report.owned} have"
    for count, type in installation.rows(
        "SELECT max(n), type FROM (SELECT lead_id, type, count(*) AS n FROM reporting_history"
        " WHERE type IN ('lead.qualified', 'lead.assigned') GROUP BY lead_id, type) GROUP BY type"
    ):
        if count != 1:
            yield f"a lead has {count} records of type {type}"


def _pages(installation: ProcessInstallation, report: KillReport) -> Iterator[str]:
    """Check that every owner was paged, only about an own lead, and twice only if a kill explains it."""
    owners = {
        (lead, epoch): f"U{int(rep.removeprefix('rep')):04}"
        for lead, epoch, rep in installation.rows("SELECT lead_id, epoch, rep FROM router_assignments")
    }
    arrived: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for arrival in report.arrivals:
        arrived[arrival["lead_id"], arrival["epoch"]].append(arrival)
    for place, slack in owners.items():
        if not arrived[place]:
            yield f"{place}: the page to {slack} is missing"
        elif any(arrival["to"] != slack for arrival in arrived[place]):
            yield f"{place}: paged {[arrival['to'] for arrival in arrived[place]]}, the owner is {slack}"
    for place, pages in arrived.items():
        if not pages:
            continue
        if place not in owners:
            yield f"{place}: a page about no assignment"
        if len({page["page_id"] for page in pages}) != 1 or len({page["client_msg_id"] for page in pages}) != 1:
            yield f"{place}: several pages for one rung"
        excess = unexplained(sorted(page["at"] for page in pages), report.restarts)
        if excess:
            yield f"{place}: arrived {len(pages)} times, {excess} of them without a kill between"
    report.repeated = sum(len(pages) > 1 for pages in arrived.values())


def unexplained(arrivals: Sequence[float], restarts: Sequence[float]) -> int:
    """Return the number of repeats that no restart explains: each restart between two arrivals excuses one.

    The restart counts and not the kill, because a message on the wire may arrive just after the kill.
    """
    return sum(not any(earlier < restart <= later for restart in restarts) for earlier, later in pairwise(arrivals))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kills. Return 0 if nothing is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kill", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=7455, help="of the generated stream (%(default)s)")
    parser.add_argument("--file", type=Path, help="a CSV of leads instead")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="firsthour-kill-", ignore_cleanup_errors=True) as place:
        directory = Path(place)
        file = options.file or write_stream(directory / "stream.csv", options.rows)
        report = run(KillPlan(file.resolve(), options.kills, options.seed), directory)
    print(report)
    for one in report.broken[:50]:
        print(f"BROKEN {one}")
    print("clean" if not report.broken else f"{len(report.broken)} broken")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
