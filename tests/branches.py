"""A plugin of pytest that prints the branches of the program that no test reaches: `make test COVERAGE=yes`.

SlipCover counts inside the modules themselves, and no longer once a line was reached, so that the tests take as long as without
it. It sees the processes of pytest, not those that tests start. The command line names this plugin, so that it is loaded
before the modules of the program.
"""

import io
import json
from typing import Any, Final

import pytest
from slipcover import FileMatcher, ImportManager, Slipcover, merge_coverage, print_coverage

SOURCES: Final = ("services", "firsthour")
NOT_COUNTED: Final = ("if TYPE_CHECKING:", "raise AssertionError", r"\.\.\.$")
WIDTH: Final = 80  # of the column of missing lines
_OUTPUT: Final = "branches"

_measured: Final = Slipcover(branch=True, source=list(SOURCES), exclude_also=list(NOT_COUNTED))
_of_workers: Final[list[dict[str, Any]]] = []
ImportManager(_measured, FileMatcher(sources=list(SOURCES))).__enter__()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker counted to the main process."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = json.dumps(_measured.get_coverage())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker counted. A worker that crashed has sent nothing."""
    counted = getattr(node, "workeroutput", {}).get(_OUTPUT)
    if counted is not None:
        _of_workers.append(json.loads(counted))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each file with lines or branches that were not reached."""
    found: dict[str, Any] = json.loads(json.dumps(_measured.get_coverage()))
    for counted in _of_workers:
        merge_coverage(found, counted)
    text = io.StringIO()
    print_coverage(found, outfile=text, skip_covered=True, missing_width=WIDTH)
    terminalreporter.section("branches that no test reaches")
    terminalreporter.write_line(text.getvalue())
    complete = sum(not file["missing_lines"] and not file["missing_branches"] for file in found["files"].values())
    terminalreporter.write_line(f"{complete} files are complete")
