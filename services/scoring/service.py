"""Scoring, as data."""

from collections.abc import Mapping, Sequence
from functools import partial

from firsthour.runtime.eventlog.log import LINGER_SECONDS
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.processing.service import Resources, Runner, Service
from schemas.topics import EVENTS, ROUTES
from services.scoring.api import router
from services.scoring.handlers import hear_events, hear_routes


class DroppedCounter:
    """Counts what the bounds of profiles dropped, once the process has its metrics."""

    telemetry: Telemetry | None = None

    def count(self, lost: Mapping[str, int]) -> None:
        """Add to the metric."""
        if self.telemetry is not None:
            self.telemetry.profile_dropped(lost)


def service() -> Service:
    """Hears what happened and what was recycled; says who it was, their score and the lines they meet."""
    dropped = DroppedCounter()

    def runners(resources: Resources) -> Sequence[Runner]:
        dropped.telemetry = resources.telemetry
        return ()

    return Service(
        name="scoring",
        hears={EVENTS: partial(hear_events, count=dropped.count), ROUTES: hear_routes},
        linger_seconds={
            ROUTES: LINGER_SECONDS
        },  # of all that is said there only a recycle concerns us, and that is a mark in time
        api=router,
        runners=runners,
    )
