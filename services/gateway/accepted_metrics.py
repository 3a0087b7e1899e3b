"""The metrics of accepted events: their number by source, and their corrections."""

from collections.abc import Sequence

from prometheus_client import Counter

from firsthour.runtime.observability.metrics import Telemetry
from services.gateway.domain.mapping import ParsedEvent


class AcceptedMetrics:
    """Counts events once they are stored."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._of_source: dict[str, Counter] = {}  # finding the child of a metric costs a lock

    def count(self, source: str, events: Sequence[ParsedEvent]) -> None:
        """Count these events. `source`: a name of the configuration or of a key."""
        counter = self._of_source.get(source)
        if counter is None:
            counter = self._of_source[source] = self._telemetry.events_accepted.labels(source)
        counter.inc(len(events))
        for event in events:
            for flag in event.external.flags:
                self._telemetry.event_flags.labels(flag).inc()
