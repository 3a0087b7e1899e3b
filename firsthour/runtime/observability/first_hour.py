"""The metrics of the first hour: the figures of the response report, over the requests of the last 7 days."""

from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

_STATES: Final = {
    "all": "requests",
    "pending": "pending",
    "touched": "touched",
    "never_touched": "never_touched",
    "reached": "reached",
}
_KINDS: Final = {"attempt": "attempts", "conversation": "conversations"}


class FirstHourGauges:
    """Gauges with the label `urgency`, whose values are names of the agreement."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Gauge(
            "first_hour_requests",
            f"Requests of the last 7 days, by state: {', '.join(_STATES)}",
            ["urgency", "state"],
            registry=registry,
        )
        self._share = Gauge(
            "first_hour_share",
            "Share of the requests of the last 7 days with a first touch within the hour; time: raw, working",
            ["urgency", "time"],
            registry=registry,
        )
        self._seconds = Gauge(
            "first_touch_seconds",
            "Seconds to the first touch of the requests of the last 7 days; figure: average, median, p90",
            ["urgency", "time", "figure"],
            registry=registry,
        )
        self._touches = Gauge(
            "touches",
            "Touches of the requests of the last 7 days; kind: attempt (without an answer), conversation",
            ["urgency", "kind"],
            registry=registry,
        )

    def set(self, by_urgency: Mapping[str, Mapping[str, Any]]) -> None:
        """Set the figures of each urgency, as in the report. An urgency that is not in `by_urgency` has none."""
        for gauge in (self._requests, self._share, self._seconds, self._touches):
            gauge.clear()
        for urgency, row in by_urgency.items():
            for state, name in _STATES.items():
                self._requests.labels(urgency, state).set(row[name])
            for kind, name in _KINDS.items():
                self._touches.labels(urgency, kind).set(row[name])
            for time in ("raw", "working"):
                self._set_times(urgency, time, row[time])

    def _set_times(self, urgency: str, time: str, row: Mapping[str, Any]) -> None:
        """Set the share and the times, as far as there are requests to compute them from."""
        if row["share"] is not None:
            self._share.labels(urgency, time).set(row["share"])
        for figure in ("average", "median", "p90"):
            if row[f"{figure}_seconds"] is not None:
                self._seconds.labels(urgency, time, figure).set(row[f"{figure}_seconds"])
