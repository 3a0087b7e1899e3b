"""Runs a class of Kafka on this machine: by Java with the fetched jars, or by the image in Docker."""

import functools
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import children, jars, machine

JAVA_MAJOR = 17
TOOL_SECONDS = 120.0
_CONFIG = jars.POM.parent


@dataclass(frozen=True)
class Launch:
    """The classes, and the Java that runs them."""

    version: str
    java: str | None  # None: the Java of the Docker image
    libs: str
    archive: Path | None = None  # the class archive of Java for a broker; the file may not exist yet. None: with Docker

    def command(self, directory: Path, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """Return the command line. A container sees only `directory` of this machine."""
        line = [*options, *self._archived(options), "-cp", f"{self.libs}/*", *self._logging(), *arguments]
        if self.java:
            return [self.java, *line]
        return [
            *("docker", "run", "--rm", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"),
            *("--volume", f"{directory}:{directory}", "--volume", f"{_CONFIG}:{_CONFIG}:ro"),
            *("--entrypoint", "java", f"apache/kafka:{self.version}", *line),
        ]

    def child(self, directory: Path, arguments: Sequence[str], options: Sequence[str]) -> children.ChildProcess:
        """Return the command as a child process that keeps running."""
        command, output = self.command(directory, arguments, options), directory / "output.log"
        if self.java:
            return children.ChildProcess(command, output)
        name = f"firsthour-kafka-{uuid.uuid4().hex[:12]}"
        return children.ChildProcess([*command[:2], "--name", name, *command[2:]], output, container=name)

    def run(self, directory: Path, *arguments: str) -> None:
        """Run the command to its end. Raises `StartError`."""
        command = self.command(directory, arguments, ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
        )
        if result.returncode:
            raise children.StartError(f"{arguments[0]}: {(result.stdout + result.stderr).strip()[-2000:]}")

    def _archived(self, options: Sequence[str]) -> list[str]:
        if self.archive is None or not self.archive.exists() or any("ArchiveClassesAtExit" in each for each in options):
            return []
        return [f"-XX:SharedArchiveFile={self.archive}"]

    def _logging(self) -> list[str]:
        if self.version.startswith("3."):
            return [f"-Dlog4j.configuration=file:{_CONFIG / 'log4j.properties'}"]
        return [f"-Dlog4j2.configurationFile={_CONFIG / 'log4j2.properties'}"]


def java() -> str | None:
    """Return a sufficiently new Java from JAVA_HOME or PATH. None: there is none."""
    home = os.environ.get("JAVA_HOME")
    for candidate in (home and shutil.which("java", path=str(Path(home) / "bin")), shutil.which("java")):
        if candidate and int((_printed(candidate) or "0").partition(".")[0]) >= JAVA_MAJOR:
            return candidate
    return None


@functools.cache
def _printed(program: str) -> str | None:
    # macOS has a `java` that only prints where to get one, so the printed version decides.
    result = subprocess.run(
        [program, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    match = re.search(r'version "(\d[\w.+-]*)"', result.stderr)
    return match[1] if match and result.returncode == 0 else None


def find(version: str) -> Launch:
    """Return the launch of this version; fetch its jars if necessary. Raises `MissingError`, `FetchError`."""
    runtime = java()
    if runtime and (shutil.which("mvn") or jars.folder(version).is_dir()):
        libs = jars.fetch(version)
        return Launch(version, runtime, str(libs), libs.with_name(f"{version}-java-{_printed(runtime)}.jsa"))
    if machine.has_docker():
        return Launch(version, None, "/opt/kafka/libs")
    lacks = " and ".join(missing(runtime))
    raise machine.MissingError(
        f"a local Kafka needs {lacks} ({machine.how('default-jre-headless maven', 'brew install openjdk@17 maven')}), "
        "or a running Docker engine, or brokers named by FIRSTHOUR_KAFKA_BOOTSTRAP"
    )


def missing(runtime: str | None) -> list[str]:
    """Return the names of the missing programs."""
    lacks = [] if runtime else [f"Java {JAVA_MAJOR} or newer"]
    return lacks if shutil.which("mvn") else [*lacks, "Maven"]
