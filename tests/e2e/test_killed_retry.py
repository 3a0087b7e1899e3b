"""`firsthour deadletters retry --source X --all`, killed in the middle: a second run loses nothing and repeats nothing."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from firsthour.runtime.eventlog.dead_letters import GATEWAY, dead_letter
from firsthour.runtime.storage.unit import Unit
from tests.e2e.processes import ROOT, end, environment, until
from tests.unit.operations.harness import OperationsHarness

LETTERS = 400
SOURCE = """
  - id: chat
    kind: webhook
    verify: {scheme: hmac-sha256, header: X-Signature, secrets: [{file: chat.secret}]}
    events: [{type: form.submitted, id: uuid, email: mail, data: {form: "'demo-request'"}}]
"""
pytestmark = [pytest.mark.slow, pytest.mark.kill]


async def keep_letters(place: Path) -> None:
    """Make an installation with dead letters of a source that is mapped now."""
    harness = OperationsHarness(place)
    await harness.open()

    def work(unit: Unit) -> None:
        for number in range(LETTERS):
            dead_letter(
                unit.connection,
                at=unit.clock.real(),
                consumer=GATEWAY,
                origin="/hooks/chat",
                source="chat",
                body=json.dumps({"uuid": str(number), "mail": f"p{number}@acme.example"}).encode(),
                content_type="application/json",
                error="e",
                code="1",
            )

    await harness.system.units.run(work)
    await harness.close()
    file = place / "config" / "sources.yaml"
    file.write_text(file.read_text() + SOURCE)


def count(place: Path, question: str) -> int:
    with closing(sqlite3.connect(f"file:{place / 'data' / 'firsthour.db'}?mode=ro", uri=True, timeout=30)) as database:
        return int(database.execute(question).fetchone()[0])


def retried(place: Path) -> int:
    return count(place, "SELECT count(*) FROM dead_letters WHERE state = 'retried'")


def retry(place: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "firsthour", "deadletters", "retry", "--source", "chat", "--all", "--json"],
        cwd=place,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_killed_retry_goes_on_and_each_event_is_appended_once(tmp_path: Path) -> None:
    asyncio.run(keep_letters(tmp_path))
    first = retry(tmp_path)
    try:
        until(lambda: retried(tmp_path) >= 20 or first.poll() is not None, 60, "the first retried dead letters")
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=30)
    finally:
        end(first)  # type: ignore[arg-type]  # its pipes are text
    before = retried(tmp_path)
    assert 0 < before < LETTERS
    assert count(tmp_path, "SELECT count(*) FROM log WHERE topic = 'events'") == before

    second = retry(tmp_path)
    output, problems = second.communicate(timeout=120)
    assert second.returncode == 0, problems
    done = json.loads(output)
    assert (done["retried"], done["events"], done["failed"]) == (LETTERS - before, LETTERS - before, 0)
    assert retried(tmp_path) == LETTERS
    assert count(tmp_path, "SELECT count(*) FROM log WHERE topic = 'events'") == LETTERS
    assert count(tmp_path, "SELECT count(DISTINCT event_id) FROM log WHERE topic = 'events'") == LETTERS
