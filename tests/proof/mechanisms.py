"""Removes one mechanism after the other, each in a copy of the tree, and reports the test that fails. `make mutate`.

A test that cannot fail proves nothing. Every invariant depends on mechanisms. Without one of them, a test must run and fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("schemas", "firsthour", "services", "devtools", "deploy", "tests", "pyproject.toml", "README.md", "Makefile")
SECONDS_MAX = 900
OK, FAILED = 0, 1  # the exit codes of pytest after which tests have run
TIMED_OUT = "Timeout ("  # the message of pytest-timeout begins with this


@dataclass(frozen=True)
class Removal:
    """The removal of a mechanism: in `file`, `old` becomes `new`. Then one of `tests` must fail.

    `tests` are run one after the other until a test fails: the likely place first, the wider ones after it.
    """

    invariant: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ("tests/contract/test_invariants.py", "tests/contract")


REMOVALS = (
    Removal(
        "I1",
        "the answer waits for the commit",
        "firsthour/runtime/storage/sqlite.py",
        "            self._queue.appends.append((rows, done))\n            self._waiting.notify()\n        await done",
        "            self._queue.appends.append((rows, done))\n            self._waiting.notify()",
    ),
    Removal(
        "I1",
        "commits reach the disk",
        "firsthour/runtime/storage/sqlite_engines.py",
        "synchronous=FULL",
        "synchronous=OFF",
    ),
    Removal(
        "I2",
        "the check that every cursor moved",
        "firsthour/runtime/processing/cursors.py",
        "    if _MOVE.many(unit.connection, rows) != len(moves):\n",
        "    if _MOVE.many(unit.connection, rows) < 0:\n",
        ("tests/contract/test_units.py", "tests/contract/test_worker.py", "tests/contract/test_kafka.py"),
    ),
    Removal(
        "I2",
        "a service joins the unit of another only if it is up to date",
        "firsthour/runtime/processing/cursors.py",
        "    return _MOVE.many(unit.connection, [row]) == 1\n",
        "    _MOVE.many(unit.connection, [row])\n    return True\n",
        ("tests/contract/test_chain.py",),
    ),
    Removal(
        "I2",
        "the compare-and-set of a cursor",
        "firsthour/runtime/processing/cursors.py",
        "            cursors.c.position == moves.c.was,\n",
        "",
        ("tests/contract/test_units.py", "tests/contract/test_worker.py", "tests/contract/test_kafka.py"),
    ),
    Removal(
        "I2",
        "the check of `seen`",
        "firsthour/runtime/processing/cursors.py",
        "        if record.event_id in new:\n",
        "        if True:\n",
    ),
    Removal(
        "I2",
        "state, events and cursor in one transaction",
        "firsthour/runtime/storage/sqlite.py",
        "                result = work(unit)\n",
        "                result = work(unit)\n                connection.exec_driver_sql('COMMIT')\n"
        "                connection.exec_driver_sql('BEGIN IMMEDIATE')\n",
    ),
    Removal(
        "I3",
        "the partial unique index",
        "services/router/store/tables.py",
        'sa.Index("router_one_open", assignments.c.lead_id, unique=True,',
        'sa.Index("router_one_open", assignments.c.lead_id,',
    ),
    Removal(
        "I3",
        "only a status that may be handed over qualifies",
        "services/router/domain/qualify.py",
        "    if scored.suppressed is not None or lead.status not in rules.handover:\n",
        "    if scored.suppressed is not None:\n",
    ),
    Removal(
        "I4",
        "a clock for a lead that waits",
        "services/notifier/domain/clock_events.py",
        "    return ClockStep(after, pages=pages, cancels=cancels)",
        "    return ClockStep(None, cancels=cancels)",
        ("tests/unit/notifier", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I5",
        "one page per lead, epoch, rung and person",
        "services/notifier/store/tables.py",
        '    sa.UniqueConstraint("lead_id", "epoch", "rung", "person", name="notifier_pages_once"),\n',
        "",
    ),
    Removal(
        "I5",
        "after a rung, the next one fires",
        "services/notifier/domain/firing.py",
        "next_rung=clock.next_rung + 1",
        "next_rung=clock.next_rung + 2",
        ("tests/unit/notifier", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I5",
        "the span of a rung begins when the page before was told",
        "services/notifier/domain/ladder.py",
        "        return later(hours, told_at, span)\n",
        "        return later(hours, was_planned, span)\n",
        ("tests/unit/notifier",),
    ),
    Removal(
        "I5",
        "the epoch check of a page",
        "services/notifier/domain/objection.py",
        "    elif page.epoch != clock.epoch or (clock.rep is None) != (index_of(page.rung) >= WAITING):\n",
        "    elif clock.rep is None:\n",
        ("tests/unit/notifier", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I6",
        "the end of a lease",
        "services/notifier/domain/page.py",
        "        next_at=real + LEASE,",
        "        next_at=None,",
        ("tests/unit/notifier", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I7",
        "a claim checks the clock again",
        "services/notifier/domain/objection.py",
        '    if clock is None or not clock.running:\n        return "a touch',
        '    if clock is None:\n        return "a touch',
        ("tests/unit/notifier", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I7",
        "a person who is away is not paged",
        "services/notifier/domain/objection.py",
        '    if away == "away" or rep.away_until(now) is not None:\n',
        "    if False:\n",
        ("tests/unit/notifier", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I8",
        "the capacity check",
        "services/router/domain/eligibility.py",
        "if limit is not None and open_leads >= limit else None",
        "if limit is not None and open_leads > limit else None",
        ("tests/unit/router", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I9",
        "a transition is only for its actors",
        "services/router/domain/lifecycle.py",
        '    if not ("anyone" in transition.by or actor.roles & set(transition.by)):\n        return False\n',
        "",
        ("tests/unit/router", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I9",
        "the fence: an actor moves only leads of its teams",
        "services/router/domain/lifecycle.py",
        "    return lifecycle.statuses.get(status) in actor.teams\n",
        "    return True\n",
        ("tests/unit/router", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "I10",
        "a decision depends only on its inputs",
        "services/router/domain/turns.py",
        "    chosen = _chosen(eligible, shares)",
        "    chosen = __import__('random').choice(eligible).rep",
        ("tests/unit/router", "tests/contract/test_invariants.py", "tests/contract"),
    ),
    Removal(
        "order",
        "the publisher's lock",
        "firsthour/runtime/eventlog/outbox.py",
        "    lock = sa.func.pg_try_advisory_xact_lock(requested.c.kind, sa.cast(requested.c.partition, sa.Integer))\n",
        "    lock = sa.true()\n",
        ("tests/contract/test_publisher.py",),
    ),
    Removal(
        "order",
        "the order of locks",
        "services/router/session.py",
        "        self.leads = lock_leads(unit, {*lead_ids, *self.queue.ids})\n",
        "        self.team.state  # noqa: B018\n        self.leads = lock_leads(unit, {*lead_ids, *self.queue.ids})\n",
        ("tests/contract/test_lock_order.py",),
    ),
    Removal(
        "I5",
        "the epoch check of a rung's request",
        "services/router/handlers.py",
        "    if event.epoch != lead.epoch:\n",
        "    if False:\n",
        ("tests/unit/router", "tests/contract/test_invariants.py", "tests/story/test_ownership.py"),
    ),
    Removal(
        "I7",
        "a button click locks the row of the clock",
        "services/notifier/store/clocks.py",
        'sa.select(clocks).where(f.is_any_of(clocks.c.lead_id, "leads")).order_by(clocks.c.lead_id).with_for_update()',
        'sa.select(clocks).where(f.is_any_of(clocks.c.lead_id, "leads")).order_by(clocks.c.lead_id)',
        ("tests/contract/test_lock_order.py",),
    ),
    Removal(
        "I1",
        "new rows go to the spool while it is used",
        "firsthour/runtime/eventlog/durable_append.py",
        "        if not self._spooling:\n            try:\n                await self._producer.send(rows, seconds)\n",
        "        if True:\n            try:\n                await self._producer.send(rows, seconds)\n",
        ("tests/unit/runtime/eventlog/test_durable_append.py",),
    ),
)


class UnprovenError(Exception):
    """Raised when no test ran and failed without the mechanism. The message is the reason."""


def failing_test(removal: Removal) -> str:
    """Return the first test that ran and failed without the mechanism.

    Raises `LookupError` if the text of the mechanism is missing, and `UnprovenError` if no test failed. A test that could not
    be collected or set up, a run that crashed or did not end, and a run without a test prove nothing about the mechanism.
    """
    with tempfile.TemporaryDirectory(prefix="without-") as directory:
        copy = Path(directory)
        for name in COPIED:
            source = ROOT / name
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy(
                source, copy / name
            )
        file = copy / removal.file
        text = file.read_text()
        if text.count(removal.old) != 1:
            raise LookupError(
                f"{removal.file}: {text.count(removal.old)} places have the text of a mechanism: {removal.name}; change its text"
            )
        file.write_text(text.replace(removal.old, removal.new))
        return run_each(copy, removal.tests)


def run_each(copy: Path, places: Sequence[str]) -> str:
    """Return the first test that fails in these places, run in their order. Raises `UnprovenError` as `failing_test` does.

    Each place is a run of its own: pytest leaves out a file whose directory is given too, and so would lose the order.
    """
    reasons = []
    for place in places:
        try:
            return run(copy, [place])
        except UnprovenError as error:
            reasons.append(f"{place}: {error}")
    raise UnprovenError("; ".join(reasons))


def run(copy: Path, tests: Sequence[str], seconds_max: float = SECONDS_MAX) -> str:
    """Return the first test of the tree in `copy` that runs and fails. Raises `UnprovenError` as `failing_test` does."""
    results = copy / "results.xml"
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
    ]
    try:
        done = subprocess.run(
            [*program, f"--junit-xml={results}", *tests],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
            env=_environment(copy),
        )
    except subprocess.TimeoutExpired:
        raise UnprovenError(f"the run did not end within {seconds_max:g} s") from None
    if done.returncode not in (OK, FAILED) or not results.exists():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise UnprovenError(f"the run ended with {done.returncode}: {' '.join(last) or 'no output'}")
    return first_failure(results.read_text())


def first_failure(results: str) -> str:
    """Return the first test that failed, from results in JUnit XML. Raises `UnprovenError`."""
    cases = list(ET.fromstring(results).iter("testcase"))
    for case in cases:
        failure = case.find("failure")
        if failure is not None and TIMED_OUT not in (failure.get("message") or ""):
            return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
    broken = [case.get("name") for case in cases if case.find("error") is not None or case.find("failure") is not None]
    if broken:
        raise UnprovenError(f"{broken[0]} could not run to its end")
    raise UnprovenError(f"{len(cases)} tests passed" if cases else "no test ran")


def _environment(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all removals, or those of some invariants. Return 1 if no test failed after one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="invariants, for example I3")
    invariants = parser.parse_args(arguments).only
    unproven = 0
    for removal in REMOVALS:
        if invariants and removal.invariant not in invariants:
            continue
        try:
            result = failing_test(removal)
        except UnprovenError as error:
            unproven += 1
            result = f"UNNOTICED: {error}"
        sys.stdout.write(f"{removal.invariant:4} without {removal.name}: {result}\n")
        sys.stdout.flush()
    return 1 if unproven else 0


if __name__ == "__main__":
    raise SystemExit(main())
