"""Retries the dead letters of one source, page by page: after a correction of its mapping, or of a key."""

from collections.abc import Sequence
from typing import Any, Final

from firsthour.operations import dead_letters
from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog.dead_letters import Cursor, Summary, count_to_retry, find_to_retry
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Service
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import Units

ERRORS_MAX: Final = 10
"""Different errors that an answer names."""


async def retry_page(
    reads: Reader, units: Units, clock: Clock, services: Sequence[Service], budget: str, limit: int, after: Cursor
) -> dict[str, Any]:
    """Retry the oldest `limit` dead letters of this budget after that position, each in a unit of its own.

    A dead letter is marked in the unit that appends its events. So a page that is cut off loses nothing, and the next one
    repeats nothing. One that fails again stays, with its error, and the page goes on. Posts of robots are left out.

    Returns:
        `retried` and `failed`: numbers of dead letters. `events`: the number of their events. `errors`: up to `ERRORS_MAX`
        of them, each with its number and the id of the first dead letter. `left`: the number that wait after this page.
        `next`: the position of the next page; null: there is none.
    """
    letters = await reads(lambda connection: find_to_retry(connection, budget, limit, after))
    retried = failed = events = 0
    errors: dict[str, dict[str, Any]] = {}
    for letter in letters:
        try:
            answer = await dead_letters.retry(units, clock, services, letter.id, None)
        except Problem as problem:
            if not _is_ours(problem):
                continue
            failed += 1
            _add_error(errors, problem, letter)
        else:
            retried += 1
            events += len(answer["events"])
    last = letters[-1].cursor if letters else after
    left = await reads(lambda connection: count_to_retry(connection, budget, last))
    return {
        "retried": retried,
        "events": events,
        "failed": failed,
        "errors": list(errors.values()),
        "left": left,
        "next": str(last) if left else None,
    }


def _is_ours(problem: Problem) -> bool:
    """Tell whether the retry failed. If not, another command has resolved the dead letter meanwhile, or it has expired."""
    return problem.title not in ("Already resolved", "Unknown dead letter")


def _add_error(errors: dict[str, dict[str, Any]], problem: Problem, letter: Summary) -> None:
    text = problem.detail or problem.title
    if text in errors:
        errors[text]["number"] += 1
    elif len(errors) < ERRORS_MAX:
        errors[text] = {"error": text, "number": 1, "id": letter.id}
