"""`firsthour import` as a process: a kill in the middle, the continuation, and the commands that people type."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from firsthour.operations.importing import position
from firsthour.runtime import package_files
from tests.e2e.processes import ADMIN, ROOT, ProcessInstallation, end, environment, spawn, until

ROWS = 2_000


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[ProcessInstallation]:
    with ProcessInstallation(package_files.examples(), tmp_path / "data") as started:
        yield started


def command(installation: ProcessInstallation, *words: str) -> list[str]:
    place = ("--data", str(installation.data), "--config", str(installation.config))
    return ["firsthour", "import", *words, *place]


def typed(installation: ProcessInstallation, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    line = [sys.executable, "-m", *command(installation, *words)]
    return subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100, check=False)


def leads(installation: ProcessInstallation) -> int:
    headers = {"authorization": f"Bearer {ADMIN}"}
    answer = httpx.get(f"{installation.url}/v1/reports/statuses", headers=headers, trust_env=False)
    return int(answer.json()["total"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_import_continues_and_no_row_counts_twice(installation: ProcessInstallation, tmp_path: Path) -> None:
    file = tmp_path / "fair.csv"
    people = "".join(f"p{n}@acme{n}.example,Person {n}\n" for n in range(ROWS))
    file.write_text(f"E-Mail,Name\n{people}no address,Bad\n")

    killed = spawn(tmp_path / "import.output", *command(installation, "lead", str(file), "--rate", "500"))
    place = position.place_of(file)
    until(place.exists, 60, "a part of the rows is imported")
    end(killed)
    stored = msgspec.json.decode(place.read_bytes(), type=position.ImportPosition)
    assert 0 < stored.rows < ROWS

    again = typed(installation, "lead", str(file), "--json")
    result: dict[str, Any] = json.loads(again.stdout)
    assert again.returncode == 1
    assert (result["accepted"], result["rejected"]) == (ROWS, 1)
    assert result["skipped"] >= stored.rows
    assert not place.exists()
    assert Path(result["rejected_file"]).read_text("utf-8-sig").count("no address") == 1
    until(lambda: leads(installation) == ROWS, 60, "each row is one lead")

    assert typed(installation, "lead", str(file)).returncode == 1  # the same rows have no effect
    headers = {"authorization": f"Bearer {ADMIN}"}
    verdict = httpx.post(f"{installation.url}/v1/verify", headers=headers, timeout=100, trust_env=False).json()
    assert (verdict["ok"], leads(installation)) == (True, ROWS)
