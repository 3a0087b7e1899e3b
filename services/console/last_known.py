"""The last answers of the services, for pages that show several parts: a part that cannot be loaded shows its last figures.

Answers are kept by role, rep and address, so that no viewer sees what the services would not show them.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgspec import json

from firsthour.runtime.clock import Clock
from firsthour.runtime.http.in_process import Query
from firsthour.runtime.http.problem import Problem
from services.console.viewer import Viewer, problem_of

ANSWERS_MAX: Final = 200
BYTES_MAX: Final = 256 * 1024
"""A longer answer is not kept."""


@dataclass(frozen=True)
class PagePart:
    """A part of a page. `problem`: why it cannot be loaded now; its content, if any, is then that of `as_of` (real time)."""

    content: Any
    as_of: datetime
    problem: Problem | None = None


class LastKnown:
    """The newest answers of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[datetime, bytes]] = OrderedDict()

    async def load(self, viewer: Viewer, path: str, query: Query = ()) -> PagePart:
        """Return what a GET answers; if it fails, the reason and the last answer."""
        pairs = tuple(query.items() if isinstance(query, Mapping) else query)
        key = (viewer.principal.role, viewer.principal.rep, path, pairs)
        answer = await viewer.send("GET", path, query)
        now = self._clock.real()
        if answer.ok:
            self._keep(key, now, answer.body)
            return PagePart(answer.json(), now)
        problem = problem_of(answer)
        if answer.status < 500 or key not in self._answers:
            return PagePart(None, now, problem)
        as_of, body = self._answers[key]
        return PagePart(json.decode(body), as_of, problem)

    def _keep(self, key: Hashable, now: datetime, body: bytes) -> None:
        if len(body) <= BYTES_MAX:
            self._answers[key] = (now, body)
            self._answers.move_to_end(key)
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)
