"""Samples the CPU of a process: which of our functions runs, and which library below it, at every tick of CPU time.

This is a sampler and not a tracer: a tracer slows every call down, and fails where SQLAlchemy switches between greenlets.
"""

import signal
from collections import Counter
from types import FrameType
from typing import Final

EVERY_SECONDS: Final = 0.001  # of CPU; the kernel may round it up
_OURS: Final = ("firsthour", "services", "schemas")

Shares = dict[tuple[str, str], float]
"""The share of all samples by (our function, or the function of the library whose task it is; library that ran)."""


class Samples:
    """Counts the samples of the main thread."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def begin(self) -> None:
        """Start counting."""
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)

    def end(self) -> Shares:
        """Stop counting; return the shares, which add up to 1."""
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        total = sum(self._seen.values())
        return {where: count / total for where, count in self._seen.items()}

    def _tick(self, number: int, frame: FrameType | None) -> None:
        library = _library(frame) if frame else ""
        others = ""
        while frame is not None:
            name = str(frame.f_globals.get("__name__", ""))
            if name.split(".", maxsplit=1)[0] in _OURS and not name.startswith("firsthour.bench."):
                self._seen[f"{name.removeprefix('services.')}:{frame.f_code.co_name}", library] += 1
                return
            if not others and not name.startswith("asyncio."):
                others = f"{name}:{frame.f_code.co_name}"  # a task that a library runs by itself
            frame = frame.f_back
        self._seen[others, library] += 1


def _library(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?")).split(".")[0]
