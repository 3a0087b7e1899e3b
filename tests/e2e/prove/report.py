"""The report of a run: the promises, the violations, and the reasons of repeated deliveries."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.e2e.prove import judge, judge_pages
from tests.e2e.prove.history import History
from tests.e2e.prove.judge import Kind, Violation
from tests.e2e.prove.judge_pages import why_again
from tests.e2e.prove.plan import FIELDS_OF_POST, flood
from tests.e2e.prove.processes import Ended

SHOWN_MAX = 40
SETTLED_SECONDS_MAX = 60.0


@dataclass
class ProofReport:
    """The result of a run. `broken`: empty if nothing is wrong."""

    history: History
    broken: list[Violation]
    ended: Sequence[Ended] = ()
    notes: list[str] = field(default_factory=list)

    def count(self, kind: Kind) -> int:
        return sum(finding.kind == kind for finding in self.broken)

    def __str__(self) -> str:
        rows = [*_run_rows(self.history), *self._findings(), *_page_rows(self.history), *_time_rows(self.history)]
        rows += _process_rows(self.history, self.ended)
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"BROKEN {finding}" for finding in self.broken[:SHOWN_MAX]]
        if len(self.broken) > SHOWN_MAX:
            lines.append(f"... and {len(self.broken) - SHOWN_MAX} more")
        return "\n".join([*lines, f"{len(self.broken)} broken" if self.broken else "clean"])

    def _findings(self) -> list[tuple[str, str]]:
        return [
            ("events acknowledged", f"{len(self.history.acknowledged)}"),
            ("lost", f"{self.count('lost')}"),
            ("applied twice", f"{self.count('applied twice')}"),
            ("leads with two owners", f"{self.count('two owners')}"),
            ("order breaks", f"{self.count('order')}"),
            ("pages missing", f"{self.count('page missing')}"),
            ("pages delivered too often", f"{self.count('too many deliveries')}"),
        ]


def judged(history: History, *, times: bool) -> list[Violation]:
    """Return the violations. `times`: judge times too, which needs a machine without other load."""
    checks = [*judge.CHECKS, *judge_pages.CHECKS]
    if times:
        checks += [judge.answers_in_time, judge_pages.late]
    violations = [finding for check in checks for finding in check(history)]
    if times:
        settled = [judge_pages.settled_seconds(history, calm) for calm in history.calm]
        late = [seconds for seconds in settled if seconds > SETTLED_SECONDS_MAX]
        violations += [Violation("late", f"settled {seconds:.1f} s after the last fault") for seconds in late]
    return violations


def _run_rows(history: History) -> list[tuple[str, str]]:
    plan = history.plan
    brokers = f"{plan.brokers} broker{'s' if plan.brokers > 1 else ''}"
    return [
        ("seed", f"{plan.seed}"),
        ("Kafka", f"{plan.kafka}, {brokers}"),
        ("asked", f"{plan.events} events, {plan.leads} leads, {plan.reps} reps, {plan.seconds:g} s"),
        ("flood", f"{sum(1 for _ in flood(plan))} forms of {FIELDS_OF_POST} large fields" if plan.flood else "none"),
    ]


def _page_rows(history: History) -> list[tuple[str, str]]:
    owed = judge_pages.owed_pages(history)
    times = Counter(len(arrivals) for arrivals in history.arrived.values())
    why = Counter(
        why_again(earlier, later, history.hits) or "no reason"
        for arrivals in history.arrived.values()
        for earlier, later in pairwise(arrivals)
    )
    excused = sum(page.arrived_at is None and page.excused for page in owed)
    channels = Counter(receipt.channel for receipt in history.receipts)
    return [
        ("assignments", f"{len({(page.lead, page.epoch) for page in owed})}"),
        ("pages owed", f"{len(owed)}: {excused} ended before they came"),
        ("pages arrived", f"{len(history.arrived)} ({_counts(channels)})"),
        ("deliveries of a page", "; ".join(f"{n} times: {count}" for n, count in sorted(times.items())) or "none"),
        ("delivered again because of", _counts(why) or "nothing"),
    ]


def _time_rows(history: History) -> list[tuple[str, str]]:
    slowest = {"event": 0.0, "action": 0.0}
    failed: Counter[str] = Counter()
    for line in history.client:
        if line["status"] is not None:
            slowest[line["kind"]] = max(slowest[line["kind"]], line["seconds"])
        if line["status"] is None or line["status"] >= 300:
            failed[str(line["status"] or line["error"])] += 1
    late = judge_pages.lateness(history)
    return [
        ("slowest answer to an event", f"{slowest['event']:.2f} s (to an action {slowest['action']:.2f} s)"),
        ("attempts without success", _counts(failed) or "none"),
        ("latest rung", f"{late.worst:.1f} s"),
        (
            "... under a single fault",
            f"{late.worst_single:.1f} s ({late.under}); {late.judged} rungs crossed one fault at most",
        ),
        (
            "settled after the last fault",
            ", ".join(f"{judge_pages.settled_seconds(history, calm):.1f} s" for calm in history.calm),
        ),
    ]


def _process_rows(history: History, ended: Sequence[Ended]) -> list[tuple[str, str]]:
    hits = Counter(hit.kind for hit in history.hits)
    alone = Counter(f"{one.name} ({one.code})" for one in ended if not one.asked)
    doubled = {topic: len(records) - len(history.records_of(topic)) for topic, records in history.topics.items()}
    return [
        ("faults", _counts(hits) or "none"),
        ("ended by themselves", _counts(alone) or "none"),
        ("records", _counts({topic: len(records) for topic, records in history.topics.items()})),
        ("of them repeated", _counts({topic: count for topic, count in doubled.items() if count}) or "none"),
    ]


def _counts(counted: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counted.items(), key=lambda pair: -pair[1]))
