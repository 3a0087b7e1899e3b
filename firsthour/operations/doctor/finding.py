"""One line of `firsthour doctor`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: `what` was checked, and what is `said` about it. `remedy` is empty if none is needed."""

    what: str
    verdict: Verdict
    said: str
    remedy: str = ""


def well(findings: Iterable[Finding]) -> bool:
    """Return whether no finding is `wrong`; warnings are allowed."""
    return all(finding.verdict != "wrong" for finding in findings)
