"""Scoring as data."""

from collections.abc import Mapping, Sequence
from functools import partial

from firsthour.runtime.eventlog.log import LINGER_SECONDS
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources, Runner, Service
from schemas.topics import EVENTS, ROUTES
from services.scoring.api import router
from services.scoring.handlers import hear_events, hear_routes


class DroppedCounter:
    """Counts the facts and hits beyond the bounds of profiles. `telemetry` is set when the runners are made."""

    telemetry: Telemetry | None = None  # None: not counted

    def count(self, dropped: Mapping[str, int]) -> None:
        """Add to the metric, by kind."""
        if self.telemetry is not None:
            self.telemetry.profile_dropped(dropped)


def service() -> Service:
    """Return scoring: it reads outside events and the router's records, and emits identities, scores and qualify lines."""
    counter = DroppedCounter()

    def runners(resources: Resources) -> Sequence[Runner]:
        counter.telemetry = resources.telemetry
        return ()

    return Service(
        name="scoring",
        hears={EVENTS: partial(hear_events, count=counter.count), ROUTES: hear_routes},
        # Of `routes`, scoring reads only recycles, and their effect does not depend on the time of reading.
        linger_seconds={ROUTES: LINGER_SECONDS},
        api=router,
        runners=runners,
    )
