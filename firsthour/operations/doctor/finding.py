"""One line of `firsthour doctor`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` is empty where there is nothing to do."""

    what: str
    verdict: Verdict
    said: str
    remedy: str = ""


def well(found: Iterable[Finding]) -> bool:
    """Whether nothing is wrong; warnings stop nothing."""
    return all(one.verdict != "wrong" for one in found)
