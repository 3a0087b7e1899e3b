"""A plugin of pytest that prints the tests and the processor time of each directory: `make test TIMES=yes`.

The processor time of a test includes the processes that it started and waited for, not the servers that tests share. It does
not depend on what else the machine does, as the time of the clock would.
"""

import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pytest

_ATTRIBUTE = "processor_seconds"


@dataclass
class DirectoryTimes:
    """The tests of one directory, and their processor time with that of their fixtures."""

    tests: int = 0
    seconds: float = 0.0


_directories: defaultdict[str, DirectoryTimes] = defaultdict(DirectoryTimes)
_last = [0.0]


def _processor_seconds() -> float:
    return sum(os.times()[:4])


def directory(node: str) -> str:
    """Return the directory under which a test is counted: `tests/story`, `tests/unit/gateway`."""
    parts = PurePosixPath(node.partition("::")[0]).parent.parts
    return "/".join(parts[: 3 if parts[1:2] == ("unit",) else 2])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart() -> None:
    """Begin to measure a test."""
    _last[0] = _processor_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Note in the report of each phase what it took. Workers send the reports to the main process."""
    report = yield
    before, _last[0] = _last[0], _processor_seconds()
    setattr(report, _ATTRIBUTE, _last[0] - before)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add the report of a phase."""
    times = _directories[directory(report.nodeid)]
    times.tests += report.when == "call"
    times.seconds += getattr(report, _ATTRIBUTE, 0.0)


def table() -> Iterator[str]:
    """Yield the lines of the table, the directory with the most time first, and the sum."""
    total = DirectoryTimes(
        sum(times.tests for times in _directories.values()), sum(times.seconds for times in _directories.values())
    )
    ordered = sorted(_directories.items(), key=lambda item: -item[1].seconds)
    yield f"{'directory':<28} {'tests':>6} {'processor s':>12} {'ms/test':>8}"
    for name, times in (*ordered, ("all", total)):
        yield f"{name:<28} {times.tests:>6,} {times.seconds:>12.1f} {1000 * times.seconds / max(times.tests, 1):>8.0f}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table after the last test."""
    if _directories:
        terminalreporter.section("processor time by directory")
        for line in table():
            terminalreporter.write_line(line)
