"""Fetches the jars of Kafka once from Maven's repository, and stores them by version."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from devtools import machine

POM = Path(__file__).resolve().parent / "broker" / "pom.xml"
FETCH_SECONDS = 900.0


class FetchError(Exception):
    """Raised when Maven could not fetch the jars. The message contains its error."""


def folder(version: str, cache: Path | None = None) -> Path:
    """Return the directory of the jars of this version. It may not exist yet."""
    return (cache or machine.cache()) / "kafka" / version


def fetch(version: str, cache: Path | None = None) -> Path:
    """Return the directory with all jars of this version, after fetching them if necessary.

    Maven writes into a temporary directory, which is renamed at the end. So a directory with the name of the version is
    complete. Raises `MissingError`, `FetchError`.
    """
    target = folder(version, cache)
    if target.is_dir():
        return target
    with machine.alone(target.parent / ".lock"):
        if not target.is_dir():
            _fetch(version, target)
    return target


def _fetch(version: str, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise machine.MissingError(f"Maven is missing; {machine.how('maven', 'brew install maven')}")
    for leftover in target.parent.glob(".half-*"):  # of a process that has ended: this one holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=".half-", dir=target.parent))
    try:
        _copy(maven, version, partial)
        partial.chmod(0o755)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(maven: str, version: str, into: Path) -> None:
    result = subprocess.run(
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
    if result.returncode:
        errors = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("[ERROR]")]
        raise FetchError(f"Maven could not fetch Kafka {version}: {errors[0] if errors else result.returncode}")
