"""Reads the topic `inbound`: accepts the events of other programs, and keeps the other records as dead letters.

The rows of a batch, its dead letters, its counts and what it quarantines are in the unit that moves the cursor, so each record
counts once.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from msgspec.structs import replace

from firsthour.runtime.eventlog.dead_letters import GATEWAY, Retention
from firsthour.runtime.eventlog.failure_reason import failure_reason
from firsthour.runtime.eventlog.inbound_record import InboundGap, InboundRecord
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.records import Record, Row
from firsthour.runtime.storage.unit import Unit
from schemas.topics import INBOUND
from services.gateway import quarantine, unmatched
from services.gateway.accepted_metrics import AcceptedMetrics
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.domain.unmatched import WHY
from services.gateway.intake.inbound import InboundEvent, body_of, parse_record, reason_of
from services.gateway.intake.outcome import Accepted, RejectedBody, UnmatchedBody
from services.gateway.kept_bodies import keep_body
from services.gateway.quotas import RecordCounts, UnitCounts, are_requests, quarantined
from services.gateway.source_counts import OTHER, QUARANTINED, REASONS, SURGE, UNMATCHED, SourceCounts, store
from services.gateway.sources import Producers, producers_of

UNKNOWN_PRODUCER: Final = INBOUND
"""The source of a dead letter whose producer no source names."""
LOOK_SECONDS: Final = 5.0
"""How long the number of events in quarantine counts as known."""
_FULL: Final = (
    "the quarantine of the source is full; release or drop its events: `firsthour quarantine`, then retry this one"
)


class InboundIntake:
    """The intake of the topic in one process. It remembers only what is committed."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.telemetry: Telemetry | None = None  # None: nothing is counted for Prometheus
        self.counts = RecordCounts()
        self.sample: unmatched.UnmatchedSample | None = None
        self._full: frozenset[str] = frozenset()
        self._looked_at = float("-inf")  # monotonic seconds

    def hear(self, records: Sequence[Record], unit: Unit) -> None:
        """Accept the events of these records. Each record that is no event, or not permitted, becomes a dead letter."""
        written = [record for record in records if not isinstance(record, InboundGap)]
        if not written:
            return
        batch = InboundBatch(self, unit)
        for record in written:
            batch.take(record)
        batch.store()
        unit.after.append(partial(self._committed, batch))

    def is_full(self, source: str, unit: Unit) -> bool:
        """Tell whether the quarantine of a source takes no more events."""
        now = unit.clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            numbers = quarantine.numbers(unit.connection)
            self._full = frozenset(name for name, (number, _) in numbers.items() if number >= quarantine.ROWS_MAX)
            self._looked_at = now
        return source in self._full

    def _committed(self, batch: "InboundBatch") -> None:
        self.counts.add(batch.quotas.added)
        self.sample = batch.sample or self.sample
        if self.telemetry is None:
            return
        metrics = AcceptedMetrics(self.telemetry)
        for source, events in batch.accepted.items():
            metrics.count(source, events)
        for _ in range(batch.letters):
            self.telemetry.dead_letter(GATEWAY)


@dataclass
class InboundBatch:
    """The records of one unit."""

    intake: InboundIntake
    unit: Unit
    producers: Producers = field(init=False)
    quotas: UnitCounts = field(init=False)
    counts: SourceCounts = field(default_factory=SourceCounts)
    sample: unmatched.UnmatchedSample | None = None  # None: every record matched
    accepted: dict[str, list[ParsedEvent]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, dict[str, tuple[str, Row]]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # by source and event id
    letters: int = 0

    def __post_init__(self) -> None:
        self.producers, self.quotas = producers_of(self.unit.config), UnitCounts(self.intake.counts)

    def take(self, record: Record) -> None:
        """Accept the events of a record, or keep it."""
        headers = record.headers if isinstance(record, InboundRecord) else ()
        body = body_of(record.body, headers)
        parsed = parse_record(body, self.producers, self.unit.config.team, self.unit.now)
        kept = RejectedBody(record.event_id, parsed.source or UNKNOWN_PRODUCER, body.content_type, body.body, WHY)
        if parsed.unmatched is not None:
            self._keep_unmatched(UnmatchedBody(parsed.unmatched, kept))
        if parsed.error is not None:
            self._reject(kept, reason_of(parsed.error) or failure_reason(parsed.error), _outcome(parsed.error))
        if parsed.events:
            written_at = record.written_at if isinstance(record, InboundRecord) else None
            self._admit(parsed, kept, written_at)

    def store(self) -> None:
        """Store what is quarantined, and the counts."""
        for source, rows in self.held.items():
            quarantine.keep(self.unit, source, list(rows.values()))
        store(self.counts.take())(self.unit)

    def _admit(self, parsed: InboundEvent, kept: RejectedBody, written_at: float | None) -> None:
        """Append the events. Those beyond the quota of their source are quarantined, unless they are requests for contact."""
        source = parsed.source
        outcome = Accepted(source, [], parsed.events, list(parsed.rows))
        wanted = self._wanted(parsed, written_at)
        if not all(wanted):
            outcome = quarantined(outcome, source, wanted)
            if self.intake.is_full(source, self.unit):
                self._reject(kept, _FULL, REASONS[429])
            elif outcome.quarantined is not None:
                rows = outcome.quarantined.rows
                self.held[source].update({row.event_id: (type, row) for type, row in rows})
                self.counts.note(source, QUARANTINED, len(rows))
        self.unit.rows.extend(outcome.rows)
        if outcome.events:
            self.counts.accept(source, outcome.events)
            self.accepted[source].extend(outcome.events)

    def _wanted(self, parsed: InboundEvent, written_at: float | None) -> list[bool]:
        """Return for each event whether it takes effect now: the source is within its quota, or it is a request for contact."""
        quota = parsed.sender.quota if parsed.sender else None
        if quota is None:
            return [True] * len(parsed.events)
        requests = are_requests(self.unit.config, parsed.events)
        at = self.unit.clock.real().timestamp() if written_at is None else written_at
        state = self.quotas.state_after(parsed.source, quota, at, len(requests), sum(requests))
        if state.surge:
            self.counts.note(parsed.source, SURGE, len(requests))
        return requests if state.beyond else [True] * len(requests)

    def _reject(self, kept: RejectedBody, why: str, outcome: str) -> None:
        keep_body(self.unit, replace(kept, error=why), self.intake.retention)
        self.counts.note(kept.source, outcome)
        self.letters += 1

    def _keep_unmatched(self, body: UnmatchedBody) -> None:
        """Count the record, and keep its body if it is one of the newest of its type."""
        self.counts.note(body.body.source, UNMATCHED)
        if self.sample is None:
            before = self.intake.sample
            self.sample = before.copy() if before else unmatched.UnmatchedSample(self.unit.clock.monotonic)
        if self.sample.takes(body):
            unmatched.keep(self.unit, body, self.intake.retention)


def _outcome(error: Exception) -> str:
    status = error.status if isinstance(error, UnmappableError | Problem) else 0
    return REASONS.get(status, OTHER)
