"""Jars are fetched once and completely; a missing program is reported in one line, with the remedy."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from devtools import children, jars, machine, programs
from devtools import kafka as local_kafka
from devtools import postgres as local_postgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
# Like Maven, it writes one jar after the other, enough of them for another process to look in between.
FAKE_MAVEN = """#!/bin/sh
echo called >> "$CALLS"
for word in "$@"; do case "$word" in -DoutputDirectory=*) into=${word#*=};; esac; done
n=0; while [ $n -lt 500 ]; do : > "$into/$n.jar"; n=$((n+1)); done
if [ -n "$MAVEN_FAILS" ]; then echo "[ERROR] no route to host"; exit 1; fi
"""
FETCH = "from devtools import jars; print(len(list(jars.fetch('4.3.0').glob('*.jar'))))"


@pytest.fixture
def maven(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a fake Maven, which appends to `CALLS`, and an empty cache."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "mvn"
    fake.write_text(FAKE_MAVEN)
    fake.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CALLS": str(tmp_path / "calls"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Return an environment without any program."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTHOUR_")}
    ours.pop("JAVA_HOME", None)
    ours.pop("CI", None)
    return {**ours, "PATH": str(tmp_path)}


def python(environment: Mapping[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_fetches_at_once_fetch_once_and_both_get_every_jar(maven: Mapping[str, str]) -> None:
    both = [python(maven, "-c", FETCH) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == ["500\n", "500\n"]
    assert Path(maven["CALLS"]).read_text().splitlines() == ["called"]


def test_failed_fetch_leaves_no_directory_of_the_version(maven: Mapping[str, str]) -> None:
    errors = python({**maven, "MAVEN_FAILS": "1"}, "-c", FETCH).communicate(timeout=60)[1]
    assert "FetchError: Maven could not fetch Kafka 4.3.0: [ERROR] no route to host" in errors
    assert list((Path(maven["XDG_CACHE_HOME"]) / "firsthour" / "kafka").glob("[!.]*")) == []
    assert python(maven, "-c", FETCH).communicate(timeout=60)[0] == "500\n"


def test_files_of_a_killed_fetch_are_removed_by_the_next(maven: Mapping[str, str]) -> None:
    cache = Path(maven["XDG_CACHE_HOME"]) / "firsthour" / "kafka"
    (cache / ".half-abc").mkdir(parents=True)
    (cache / ".half-abc" / "one.jar").touch()
    assert python(maven, "-c", FETCH).communicate(timeout=60)[0] == "500\n"
    assert not (cache / ".half-abc").exists()


def test_missing_java_is_reported_in_one_line_with_the_remedy(bare: Mapping[str, str]) -> None:
    process = python(bare, "-m", "devtools.kafka")
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert errors.count("\n") == 1
    for word in ("Java 17 or newer", "Maven", "Docker", "FIRSTHOUR_KAFKA_BOOTSTRAP"):
        assert word in errors


def test_missing_postgresql_is_reported_in_one_line_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(machine.MissingError, match="FIRSTHOUR_TEST_DATABASE_URL") as missing:
        programs.find()
    assert "\n" not in str(missing.value)


@pytest.fixture
def without_locale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> programs.Programs:
    """Return programs on a machine that has only the locale C, and where nothing may be installed."""
    for name, does in {
        "locale": "echo C",
        "initdb": f"echo 'invalid locale name \"{programs.LOCALE}\"' >&2; exit 1",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setattr(machine, "may_install", lambda: False)
    return programs.Programs(tmp_path, None)


def test_missing_locale_is_reported_in_one_line_with_the_remedy(
    without_locale: programs.Programs, tmp_path: Path
) -> None:
    for step in (without_locale.ensure_locale, lambda: without_locale.prepare(tmp_path / "data")):
        with pytest.raises(
            machine.MissingError, match=r"apt-get install locales && sudo localedef -i en_US"
        ) as missing:
            step()
        assert "\n" not in str(missing.value)


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_missing_backend_skips_a_test_and_fails_it_in_ci(bare: Mapping[str, str], ci: str, outcome: str) -> None:
    test = "tests/e2e/test_local_backends.py::test_shared_broker_accepts_records"
    output = python({**bare, "CI": ci}, "-m", "pytest", "-p", "no:cacheprovider", test).communicate(timeout=60)[0]
    assert outcome in output
    assert "Java 17 or newer" in output


def test_named_servers_are_used_and_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local_kafka.BOOTSTRAP, "broker.example:9092")
    monkeypatch.setenv(local_postgres.GIVEN, "postgresql://ann:pw@db.example:6432/postgres?sslmode=require")
    local_kafka.ensure()
    local_postgres.ensure()
    with local_kafka.start() as cluster, local_postgres.start() as server:
        assert (cluster.bootstrap, cluster.ours) == ("broker.example:9092", False)
        assert server.url("one") == "postgresql://ann:pw@db.example:6432/one?sslmode=require"
        assert not server.ours


def test_program_that_ends_at_once_is_reported_with_its_output(tmp_path: Path) -> None:
    child = children.ChildProcess([sys.executable, "-c", "raise SystemExit('the disk is full')"], tmp_path / "output")
    child.start()
    with pytest.raises(children.StartError, match="the disk is full"):
        child.wait_until(lambda: False, 30.0)


def test_jars_are_stored_outside_the_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.folder("4.3.0") == tmp_path / "firsthour" / "kafka" / "4.3.0"
