"""Kafka's jars, fetched from Maven's repository once and kept beside those of other versions."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from devtools import machine

POM = Path(__file__).resolve().parent / "broker" / "pom.xml"
FETCH_SECONDS = 900.0


class FetchError(Exception):
    """Maven did not bring the jars. Carries the end of what it said."""


def folder(version: str, cache: Path | None = None) -> Path:
    """Where the jars of this version are, or will be."""
    return (cache or machine.cache()) / "kafka" / version


def fetch(version: str, cache: Path | None = None) -> Path:
    """The directory with all jars of this version, fetched if need be. Raises `MissingError`, `FetchError`.

    A directory that bears the version's name is whole: Maven writes into another one, which is renamed when it is done.
    """
    whole = folder(version, cache)
    if whole.is_dir():
        return whole
    with machine.alone(whole.parent / ".lock"):
        if not whole.is_dir():
            _fetch(version, whole)
    return whole


def _fetch(version: str, whole: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise machine.MissingError(f"Maven is missing; {machine.how('maven', 'brew install maven')}")
    for left in whole.parent.glob(".half-*"):  # we hold the lock: whoever began it is dead
        shutil.rmtree(left, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=".half-", dir=whole.parent))
    try:
        _copy(maven, version, half)
        half.chmod(0o755)
        half.rename(whole)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _copy(maven: str, version: str, into: Path) -> None:
    done = subprocess.run(
        [
            *(maven, "--quiet", "--batch-mode", "--file", str(POM)),
            *("--activate-profiles", f"kafka-{version.partition('.')[0]}", f"-Dkafka.version={version}"),
            *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
        check=False,
    )
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("[ERROR]")]
        raise FetchError(f"Maven could not fetch Kafka {version}: {said[0] if said else done.returncode}")
