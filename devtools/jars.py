"""The jars of Kafka, fetched once from the repository of Maven and stored by version."""

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

    A directory with the name of the version is complete: Maven writes into another one, which is renamed at the end. Raises
    `MissingError`, `FetchError`.
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
    for left in whole.parent.glob(".half-*"):  # we hold the lock, so the process that began it has ended
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
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("[ERROR]")]
        raise FetchError(f"Maven could not fetch Kafka {version}: {errors[0] if errors else done.returncode}")
