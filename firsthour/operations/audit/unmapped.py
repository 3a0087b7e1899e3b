"""Finds sources whose deliveries were accepted and could not be mapped. Their senders do not know, so Marketing is told."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from shlex import quote
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.audit.checks import AuditFinding, AuditTime
from firsthour.runtime.eventlog.dead_letters import budget_of

SOURCE_UNMAPPED: Final = "source_unmapped"
WINDOW: Final = timedelta(hours=1)
GRACE: Final = timedelta(seconds=5)
"""Dead letters of the last seconds are left to the next run: those that are being committed now have times of before."""
SOURCES_MAX: Final = 20
LETTERS_MAX: Final = 10_000
ERROR_CHARS_MAX: Final = 300
_ACCEPTED: Final = "consumer = 'gateway' AND origin NOT LIKE '/v1/forms/%' AND origin NOT LIKE '/v1/events%'"
"""Dead letters whose sender was told that all is well. A form and an API client read the mistake in their answer."""
_SOURCES: Final = sa.text(
    f"""SELECT DISTINCT source FROM (
          SELECT source FROM dead_letters WHERE state = 'waiting' AND at > :first AND at <= :last AND {_ACCEPTED}
          ORDER BY at DESC LIMIT :letters) AS newest
        ORDER BY source LIMIT :sources"""  # noqa: S608  # constants
)
_COUNT: Final = sa.text(
    f"""SELECT count(*) AS number, min(at) AS first FROM (
          SELECT at FROM dead_letters
          WHERE budget = :budget AND rank = 1 AND at > :first AND at <= :last AND {_ACCEPTED}
          ORDER BY at LIMIT :letters) AS new"""  # noqa: S608  # constants
)
_FIRST: Final = sa.text(
    f"""SELECT error FROM dead_letters WHERE budget = :budget AND rank = 1 AND at = :at AND {_ACCEPTED}
        ORDER BY id LIMIT 1"""  # noqa: S608  # constants
)


def sources_are_mapped(connection: Connection, time: AuditTime, told: Mapping[str, datetime]) -> list[AuditFinding]:
    """Find the sources that sent what could not be mapped, since Marketing was told of them, or in the last hour.

    Args:
        connection: The snapshot.
        time: The times of the run.
        told: By source, the real time up to which Marketing was told.
    """
    last = time.real - GRACE
    first = min([last - WINDOW, *told.values()])
    limits = {"letters": LETTERS_MAX, "sources": SOURCES_MAX}
    rows = connection.execute(_SOURCES, {"first": micros(first), "last": micros(last), **limits})
    found = (_finding(connection, row.source, told.get(row.source, last - WINDOW), last) for row in rows.all())
    return [finding for finding in found if finding is not None]


def _finding(connection: Connection, source: str, since: datetime, last: datetime) -> AuditFinding | None:
    budget = budget_of(source)
    values: dict[str, Any] = {"budget": budget, "first": micros(since), "last": micros(last), "letters": LETTERS_MAX}
    count = connection.execute(_COUNT, values).one()
    if not count.number:
        return None
    error = connection.execute(_FIRST, {"budget": budget, "at": count.first}).scalar() or ""
    text = (
        f"{count.number} deliveries of the source {source} could not be mapped since {moment(count.first):%H:%M} UTC; "
        "they were accepted and are kept"
    )
    lines = (
        f"The first error: {error[:ERROR_CHARS_MAX]}",
        f"List them: firsthour deadletters list --source {quote(source)}",
        f"Retry them: firsthour deadletters retry --source {quote(source)} --all",
    )
    return AuditFinding(SOURCE_UNMAPPED, count.number, text, source, lines, last)
