"""Removes one mechanism after the other, each in a copy of the tree, and says which test noticed. `make mutate`.

A test that cannot fail proves nothing. Every invariant stands on a mechanism; take it away, and a test must fail.
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

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("schemas", "services", "deploy", "tests", "pyproject.toml", "README.md", "Makefile")
SECONDS_MAX = 300


@dataclass(frozen=True)
class Removal:
    """What is taken away: in `file`, `old` becomes `new`. `tests`: where it must be noticed."""

    invariant: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ("tests/contract/test_invariants.py", "tests/contract")


REMOVALS = (
    Removal(
        "I1",
        "the answer waits for the commit",
        "services/runtime/sqlite.py",
        "            self._queue.appends.append((rows, done))\n            self._waiting.notify()\n        await done",
        "            self._queue.appends.append((rows, done))\n            self._waiting.notify()",
    ),
    Removal("I1", "commits reach the disk", "services/runtime/sqlite.py", "synchronous=FULL", "synchronous=OFF"),
    Removal(
        "I2",
        "the cursor's compare-and-set",
        "services/runtime/worker.py",
        "    if _MOVE.many(unit.connection, rows) != len(moves):\n",
        "    if _MOVE.many(unit.connection, rows) < 0:\n",
        ("tests/contract/test_units.py", "tests/contract/test_worker.py", "tests/contract/test_kafka.py"),
    ),
    Removal(
        "I2",
        "the cursor's compare-and-set, past one machine",
        "services/runtime/worker.py",
        "            cursors.c.position == given.c.was,\n",
        "",
        ("tests/contract/test_units.py", "tests/contract/test_worker.py", "tests/contract/test_kafka.py"),
    ),
    Removal(
        "I2",
        "`seen`",
        "services/runtime/worker.py",
        "        if record.event_id in new:\n",
        "        if True:\n",
    ),
    Removal(
        "I2",
        "state, events and cursor in one transaction",
        "services/runtime/sqlite.py",
        "                result = work(unit)\n",
        "                result = work(unit)\n                connection.exec_driver_sql('COMMIT')\n"
        "                connection.exec_driver_sql('BEGIN IMMEDIATE')\n",
    ),
    Removal(
        "I3",
        "the partial unique index",
        "services/router/store.py",
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
        "services/notifier/domain/clock.py",
        "    return Step(_unowned(base, max(event.epoch, old)), cancels=cancels)",
        "    return Step(None, cancels=cancels)",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I5",
        "one page per lead, epoch, rung and person",
        "services/notifier/store.py",
        '    sa.UniqueConstraint("lead_id", "epoch", "rung", "person", name="notifier_pages_once"),\n',
        "",
    ),
    Removal(
        "I5",
        "a fired rung is remembered",
        "services/notifier/domain/clock.py",
        "next_rung=due[-1].index + 1",
        "next_rung=clock.next_rung",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I5",
        "no rung before it is due",
        "services/notifier/domain/clock.py",
        "if step.due_at <= now]",
        "if step.due_at <= now + timedelta(minutes=5)]",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I5",
        "the epoch check of a page",
        "services/notifier/domain/clock.py",
        "    if page.epoch != clock.epoch or clock.rep is None:\n",
        "    if clock.rep is None:\n",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I6",
        "a lease that ends",
        "services/notifier/domain/page.py",
        "        next_at=until,\n        lease_until=until,",
        "        next_at=None,\n        lease_until=until,",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I7",
        "the claim looks at the clock again",
        "services/notifier/domain/clock.py",
        '    if clock is None or not clock.running:\n        return "somebody',
        '    if clock is None:\n        return "somebody',
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I7",
        "nobody is paged who is away",
        "services/notifier/domain/clock.py",
        '    if away == "away" or rep.away_until(now) is not None:\n',
        "    if False:\n",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/notifier"),
    ),
    Removal(
        "I8",
        "the capacity check",
        "services/router/domain/choosing.py",
        "if limit is not None and has >= limit else None",
        "if limit is not None and has > limit else None",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/router"),
    ),
    Removal(
        "I9",
        "only an actor whom the transition names",
        "services/router/domain/lifecycle.py",
        '    if not ("anyone" in way.by or actor.roles & set(way.by)):\n        return False\n',
        "",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/router"),
    ),
    Removal(
        "I9",
        "the fence: people move what their team owns",
        "services/router/domain/lifecycle.py",
        "    return lifecycle.statuses.get(status) in actor.teams\n",
        "    return True\n",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/router"),
    ),
    Removal(
        "I10",
        "a decision follows from its inputs alone",
        "services/router/domain/turns.py",
        "    chosen = min(due, key=_end)",
        "    chosen = __import__('random').choice(seats)",
        ("tests/contract/test_invariants.py", "tests/contract", "tests/unit/router"),
    ),
    Removal(
        "order",
        "the publisher's lock",
        "services/runtime/outbox.py",
        "    lock = sa.func.pg_try_advisory_xact_lock(given.c.kind, sa.cast(given.c.partition, sa.Integer))\n",
        "    lock = sa.true()\n",
        ("tests/contract/test_publisher.py",),
    ),
    Removal(
        "order",
        "the order of locks",
        "services/router/desk.py",
        "        self.leads = store.lock(unit, {*wanted, *self.queue.ids})\n",
        "        self.floor  # noqa: B018\n        self.leads = store.lock(unit, {*wanted, *self.queue.ids})\n",
        ("tests/contract/test_lock_order.py",),
    ),
    Removal(
        "I5",
        "the epoch check of a rung's request",
        "services/router/handlers.py",
        "    if event.epoch != lead.epoch:\n",
        "    if False:\n",
        ("tests/contract/test_invariants.py", "tests/unit/router", "tests/story/test_changing_hands.py"),
    ),
    Removal(
        "I7",
        "the lock of the clock's row in a click",
        "services/notifier/store.py",
        'sa.select(clocks).where(f.among(clocks.c.lead_id, "leads")).order_by(clocks.c.lead_id).with_for_update()',
        'sa.select(clocks).where(f.among(clocks.c.lead_id, "leads")).order_by(clocks.c.lead_id)',
        ("tests/contract/test_lock_order.py",),
    ),
    Removal(
        "I1",
        "the spool's precedence",
        "services/runtime/intake.py",
        "        if not self._spooling:\n            try:\n                await self._producer.send(rows, seconds)\n",
        "        if True:\n            try:\n                await self._producer.send(rows, seconds)\n",
        ("tests/unit/runtime/test_intake.py",),
    ),
)


def noticed(removal: Removal) -> str | None:
    """The first test that fails without the mechanism, or None. Raises `LookupError` when there is nothing to remove."""
    with tempfile.TemporaryDirectory(prefix="without-") as directory:
        copy = Path(directory)
        for name in COPIED:
            source = ROOT / name
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy(
                source, copy / name
            )
        place = copy / removal.file
        text = place.read_text()
        if text.count(removal.old) != 1:
            raise LookupError(f"{removal.file} holds the mechanism {text.count(removal.old)} times: {removal.what}")
        place.write_text(text.replace(removal.old, removal.new))
        program = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *removal.tests]
        try:
            run = subprocess.run(
                program,
                cwd=copy,
                capture_output=True,
                text=True,
                timeout=SECONDS_MAX,
                check=False,
                env=_environment(copy),
            )
        except subprocess.TimeoutExpired:
            return f"the run did not end within {SECONDS_MAX} s"
        failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED ", "ERROR tests"))]
        return failed[0].split(" - ")[0] if failed else None


def _environment(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Every removal, or those whose invariant or words are given; 1 when one went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="invariants, as I3")
    chosen = parser.parse_args(arguments).only
    missed = 0
    for removal in REMOVALS:
        if chosen and removal.invariant not in chosen:
            continue
        found = noticed(removal)
        missed += found is None
        sys.stdout.write(f"{removal.invariant:4} without {removal.what}: {found or 'NOBODY NOTICED'}\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
