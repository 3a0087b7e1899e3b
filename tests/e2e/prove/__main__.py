"""Kills processes, broker and database of a distributed installation, and judges the result from outside.

Usage: `python -m tests.e2e.prove --seed 7 --brokers 1`. A seed fixes the events, the faults and their order. All logs and
records stay in a directory, whose path is printed.
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from devtools import kafka, postgres
from tests.e2e.processes import json_lines
from tests.e2e.prove import faults, judge, judge_pages
from tests.e2e.prove.client import Client
from tests.e2e.prove.faults import FaultStage, Hit
from tests.e2e.prove.history import TOPICS, History, TopicRecord, Topics, receipts
from tests.e2e.prove.judge import Violation
from tests.e2e.prove.plan import ProofPlan, configure, short, stream
from tests.e2e.prove.processes import Crew, Sinks, command, crew, must, settings
from tests.e2e.prove.report import ProofReport, judged

PARTITIONS = 12
PATIENCE_SECONDS = 90.0  # after the last rung that is owed
LOOK_SECONDS = 2.0
VERIFY_SECONDS = 300.0  # it reads the whole history while everything runs
SECONDS_OF_THREE = 780.0  # of the stream: the three brokers are hit in turn


def run(plan: ProofPlan, directory: Path) -> ProofReport:
    """Start the installation, apply the faults, judge the result, and stop everything."""
    directory.mkdir(parents=True, exist_ok=True)
    kafka.ensure(plan.kafka)
    postgres.ensure()
    sinks = Sinks(directory / "sinks")
    with (
        kafka.start(version=plan.kafka, brokers=plan.brokers) as cluster,
        postgres.start() as database,
        sinks.running(),
    ):
        if not (cluster.ours and database.ours):
            raise SystemExit(
                "The proof kills brokers and database; unset the variables that name the servers of others"
            )
        config = configure(directory / "config", plan)
        env = settings(config, database.create("prove"), cluster.bootstrap, sinks, PARTITIONS)
        must(env, "migrate")
        must(env, "apply", "--config", str(config))
        members = crew(directory / "processes", env)
        stage = FaultStage(
            plan, members, cluster, database, sinks, directory / "faults.jsonl", random.Random(f"{plan.seed} faults")
        )
        try:
            return asyncio.run(_prove(stage, directory, env))
        finally:
            _keep_words(stage, directory)


async def _prove(stage: FaultStage, directory: Path, env: Mapping[str, str]) -> ProofReport:
    plan, log = stage.plan, directory / "client.jsonl"
    topics, broken = Topics(stage.cluster.bootstrap), list[Violation]()
    async with stage.crew.running():
        client = Client(plan, [member.url for member in stage.crew.of("gateway")], log)
        async with asyncio.TaskGroup() as group:
            group.create_task(client.run(stream(plan)))
            group.create_task(faults.run(stage))
        history = await _settled(stage, topics, log)
        broken += _verified(env, directory)
        stage.broken += await _stopped(stage.crew)
    await asyncio.to_thread(_keep, history, topics, directory)
    broken += [Violation("other", message) for message in stage.broken]
    broken += [Violation("other", f"a record that is not ours: {place}") for place in topics.foreign]
    return ProofReport(history, [*judged(history, times=not plan.short), *broken], stage.crew.ended)


async def _settled(stage: FaultStage, topics: Topics, log: Path) -> History:
    """Read the topics until no page is owed, or until the patience has ended."""
    plan = stage.plan
    end = time.monotonic() + 2 * (plan.reassign_at + plan.ladder[-1]) + PATIENCE_SECONDS
    while True:
        await topics.read()
        history = History(plan, json_lines(log), receipts(stage.sinks), list(stage.hits), stage.calm, topics.records)
        waiting = await asyncio.to_thread(_owed, history)
        if not waiting or time.monotonic() > end:
            return history
        await asyncio.sleep(LOOK_SECONDS)


def _owed(history: History) -> int:
    checks = (judge.events_lost, judge.owners, judge.actions)
    return judge_pages.owed(history) + sum(1 for check in checks for _ in check(history))


def _verified(env: Mapping[str, str], directory: Path) -> list[Violation]:
    """Return the violations that `firsthour verify` finds."""
    done = command(env, "verify", "--json", seconds=VERIFY_SECONDS)
    (directory / "verify.json").write_text(done.out)
    (directory / "verify.log").write_text(done.err)
    try:
        report = json.loads(done.out)
    except ValueError:
        return [
            Violation("other", f"verify ended with {done.code} and printed no JSON: {(done.err + done.out)[-2000:]}")
        ]
    broken = [
        Violation("other", f"verify: {item['invariant']}: {item['broken']} rows, {item['rows']}")
        for item in report["items"]
        if not item["ok"]
    ]
    if done.code != 0 and not broken:
        broken.append(Violation("other", f"verify ended with {done.code}, behind: {report.get('behind')}"))
    return broken


async def _stopped(crew: Crew) -> list[str]:
    """Stop all processes at once; return a violation for each that does not end properly."""
    codes = await asyncio.gather(*(crew.stop(member) for member in crew.members))
    return [
        f"{member.name}: ended with {code} after SIGTERM at the end"
        for member, code in zip(crew.members, codes, strict=True)
        if code != 0
    ]


def _keep_words(stage: FaultStage, directory: Path) -> None:
    """Keep the output of broker and database, and remove their data."""
    for broker in stage.cluster.brokers:
        shutil.copy(broker.child.output, directory / f"broker-{broker.id}.log")
    if stage.database.child is not None:
        shutil.copy(stage.database.child.output, directory / "postgres.log")


def _keep(history: History, topics: Topics, directory: Path) -> None:
    """Keep the files that the judge needs to judge again."""
    rest = {"plan": asdict(history.plan), "calm": list(history.calm)}
    (directory / "run.json").write_text(json.dumps(rest))
    with (directory / "topics.jsonl").open("w", encoding="utf-8") as lines:
        for topic in TOPICS:
            for record in topics.records[topic]:
                lines.write(json.dumps(asdict(record)) + "\n")


def judge_again(directory: Path) -> ProofReport:
    """Judge the logs and records of an earlier run, without the exit codes of processes and the findings of `verify`."""
    rest = json.loads((directory / "run.json").read_text())
    topics: dict[str, list[TopicRecord]] = {topic: [] for topic in TOPICS}
    for line in json_lines(directory / "topics.jsonl"):
        topics[line["topic"]].append(TopicRecord(**line))
    hits = [Hit(**line) for line in json_lines(directory / "faults.jsonl")]
    sinks = receipts(Sinks(directory / "sinks"))
    plan = ProofPlan(**rest["plan"])
    history = History(plan, json_lines(directory / "client.jsonl"), sinks, hits, rest["calm"], topics)
    return ProofReport(history, judged(history, times=not plan.short))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proof; return 0 if nothing is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.prove", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--kafka", default=kafka.VERSION, help="version of Apache Kafka (%(default)s)")
    parser.add_argument("--events", type=int, default=ProofPlan.events)
    parser.add_argument("--leads", type=int, default=ProofPlan.leads)
    parser.add_argument("--reps", type=int, default=ProofPlan.reps)
    parser.add_argument("--seconds", type=float, help="of the client's stream (480; over three brokers 780)")
    parser.add_argument("--flood", action="store_true", help="anonymous posts of many large fields beside the stream")
    parser.add_argument("--short", action="store_true", help="two minutes; judges counts, not times")
    parser.add_argument("--directory", type=Path, help="of the logs and records (default: a new one)")
    parser.add_argument(
        "--again", type=Path, metavar="DIRECTORY", help="only judge the logs and records of an earlier run"
    )
    asked = parser.parse_args(arguments)
    if asked.again:
        report = judge_again(asked.again)
        print(report)
        return 1 if report.broken else 0
    plan = short(asked.seed, asked.brokers, asked.kafka, flood=asked.flood) if asked.short else _plan(asked)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))  # so that the servers are stopped
    directory = asked.directory or Path(tempfile.mkdtemp(prefix="firsthour-prove-"))
    print(f"seed {plan.seed}; logs and records are in {directory}", flush=True)
    report = run(plan, directory)
    (directory / "report.txt").write_text(f"{report}\n")
    (directory / "broken.txt").write_text("".join(f"{finding}\n" for finding in report.broken))
    print(report)
    print(f"logs and records are in {directory}")
    return 1 if report.broken else 0


def _plan(asked: argparse.Namespace) -> ProofPlan:
    seconds = asked.seconds or (ProofPlan.seconds if asked.brokers == 1 else SECONDS_OF_THREE)
    sizes = (asked.seed, asked.events, asked.leads, asked.reps, asked.brokers, asked.kafka, seconds)
    return ProofPlan(*sizes, flood=asked.flood)


if __name__ == "__main__":
    sys.exit(main())
