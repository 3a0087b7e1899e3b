"""Counts the rows of lists by kind of list and outcome, as the rows of other sources are counted."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Lane, Unit
from services.gateway import source_counts
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.source_counts import ACCEPTED, IMPORTED, OTHER, REASONS, OutcomeCount

KINDS: Final[Mapping[str, str]] = {
    "lead.imported": "lead",
    "lead.updated": "company",
    "consent.withdrawn": "lead",
    "opportunity.changed": "opportunity",
    "cost.recorded": "cost",
}
"""The kind of list by the type of the first event of a row."""
REFUSED_MAX: Final = 1_000_000
_UNMAPPED: Final = 422


class ImportCounts:
    """The rows of one request."""

    def __init__(self, kind: str) -> None:
        """`kind`: of all rows. Empty: each row has its own."""
        self._kind = kind
        self._counts: dict[tuple[str, str], OutcomeCount] = defaultdict(OutcomeCount)
        self._rows: Counter[tuple[str, str]] = Counter()
        self._events: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def kind_of(self, row: Sequence[Mapping[str, Any]]) -> str:
        """Return the kind of list that a row is of."""
        return self._kind or KINDS.get(str(row[0].get("type")), "lead")

    def accept(self, kind: str, events: int) -> None:
        """Count a row with so many events."""
        self._counts[IMPORTED + kind, ACCEPTED].number += 1
        self._rows[kind, ACCEPTED] += 1
        self._events[kind] += events

    def refuse(self, kind: str, status: int, number: int = 1) -> None:
        """Count refused rows. `status`: that a request with such an event would get."""
        if number:
            self._counts[IMPORTED + kind, REASONS.get(status, OTHER)].number += number
            self._rows[kind, "refused"] += number

    def refused_whole(self, rows: Sequence[Sequence[Mapping[str, Any]]], status: int) -> "ImportCounts":
        """Return the counts of a request that is refused as a whole, which counts once."""
        counts = ImportCounts(self._kind)
        counts.refuse(self.kind_of(rows[0]) if rows else self._kind or "lead", status)
        return counts

    async def keep(self, resources: Resources, rows: Sequence[Row]) -> None:
        """Append rows to the log in one unit with the counts, then count in the metrics."""

        def work(unit: Unit) -> None:
            unit.rows.extend(rows)
            source_counts.store(self._counts)(unit)

        await resources.units.run(work, Lane.BATCH)
        for (kind, outcome), number in self._rows.items():
            resources.telemetry.import_rows.labels(kind, outcome).inc(number)
        for kind, number in self._events.items():
            resources.telemetry.events_accepted.labels(IMPORTED + kind).inc(number)


def counts_of(body: Json) -> ImportCounts:
    """Return the counts of a request, with the rows that its sender refused itself. Raises `UnmappableError`."""
    stated = body if isinstance(body, dict) else {}
    kind, refused = stated.get("kind"), stated.get("refused", 0)
    if kind is not None and not (isinstance(kind, str) and kind in KINDS.values()):
        kinds = ", ".join(sorted(set(KINDS.values())))
        raise UnmappableError("#/kind", "is not a kind of list", f"send one of: {kinds}")
    if isinstance(refused, float) and refused.is_integer():  # a whole number in JSON may have a fraction of zero
        refused = int(refused)
    if type(refused) is not int or not 0 <= refused <= REFUSED_MAX:
        raise UnmappableError("#/refused", "is not a number of rows", f"send a whole number from 0 to {REFUSED_MAX:,}")
    counts = ImportCounts(str(kind or ""))
    counts.refuse(str(kind or "lead"), _UNMAPPED, refused)
    return counts
