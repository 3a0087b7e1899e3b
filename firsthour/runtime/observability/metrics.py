"""The metrics of a process, in a registry of its own, as Prometheus text.

Labels are names from code and configuration: the template of a route, a consumer, a pool. Values from outside are never
labels: they may be personal data, and their number has no bound.
"""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from firsthour.runtime.observability.first_hour import FirstHourGauges

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

# Bounds of buckets, in seconds.
_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATE: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Telemetry:
    """All metrics of a process. Each instance has its own registry."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        self.http_requests = Counter(
            "http_requests_total", "Requests answered", ("method", "route", "status"), registry=r
        )
        self.http_seconds = Histogram(
            "http_seconds",
            "Seconds from the head of a request to the end of its response",
            ["route"],
            buckets=_FAST,
            registry=r,
        )
        self.units_seconds = Histogram(
            "units_seconds", "Seconds of the unit of one batch", ["consumer"], buckets=_FAST, registry=r
        )
        self.events_handled = Counter("events_handled_total", "Events in committed units", ["consumer"], registry=r)
        self.consumer_lag = Gauge(
            "consumer_lag", "Records that the consumer has not read yet", ["consumer", "topic"], registry=r
        )
        self.dead_letters = Counter(
            "dead_letters_total",
            "Events stored as dead letters: after three failures, or after one of an unknown or too large record",
            ["consumer"],
            registry=r,
        )
        self.promises = Counter("promises_total", "Response clocks that ended", ["outcome"], registry=r)
        self.queue_leads = Gauge("queue_leads", "Leads that wait because no rep is eligible", ["pool"], registry=r)
        self.profile_data_dropped = Counter(
            "profile_data_dropped_total",
            "Facts, texts and hits of leads that the bounds of a profile dropped or shortened",
            ["kind"],
            registry=r,
        )
        self.config_ok = Gauge(
            "config_ok",
            "1: the configuration files are active; 0: they have mistakes, and the previous version is active",
            registry=r,
        )
        self.database_bytes = Gauge("database_bytes", "Bytes of data in the embedded database file", registry=r)
        self.outbox_seconds = Gauge(
            "outbox_oldest_seconds", "Seconds since the oldest record that is not published yet", registry=r
        )
        self.first_hour = FirstHourGauges(r)
        self._routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._units: dict[str, tuple[Histogram, Counter]] = {}
        self._pools: set[str] = set()
        self._add_events(r)
        self._add_pages(r)
        self._add_audit(r)

    def _add_events(self, r: CollectorRegistry) -> None:
        self.events_accepted = Counter(
            "events_accepted_total", "External events stored and acknowledged", ["source"], registry=r
        )
        self.import_rows = Counter(
            "import_rows_total", "Rows of lists that firsthour import sent", ["kind", "outcome"], registry=r
        )
        self.event_flags = Counter(
            "event_flags_total",
            "External events accepted with a correction, such as of an impossible time",
            ["flag"],
            registry=r,
        )

    def _add_pages(self, r: CollectorRegistry) -> None:
        self.pages = Counter("pages_total", "Attempts to deliver a page", ["channel", "outcome"], registry=r)
        self.pages_delayed = Counter(
            "pages_delayed_total",
            "Pages that began to wait: for a rate limit, a busy channel, a channel that is down, the hours or the budget of the person",
            ["channel", "reason"],
            registry=r,
        )
        self.page_lateness = Histogram(
            "page_lateness_seconds", "Seconds from the due time of a page to its hand-over", buckets=_LATE, registry=r
        )

    def _add_audit(self, r: CollectorRegistry) -> None:
        self.audits = Counter("audits_total", "Audits of leads, clocks, pages and records", ["outcome"], registry=r)
        self.audit_findings = Gauge("audit_findings", "Rows that the audit has found, up to 100", ["check"], registry=r)
        self.heartbeats = Counter("heartbeats_total", "Calls of FIRSTHOUR_HEARTBEAT_URL", ["outcome"], registry=r)
        self._checks: set[str] = set()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. `route`: the template (`/v1/leads/{id}`), never the path as sent."""
        key = (method, route, status)
        children = self._routes.get(key)
        if children is None:
            label = method if method in _METHODS else "other"  # a client may send any method
            children = self.http_requests.labels(label, route, str(status)), self.http_seconds.labels(route)
            if label == method:
                self._routes[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def unit(self, consumer: str, seconds: float, events: int) -> None:
        """Count a committed unit of `events` events."""
        children = self._units.get(consumer)
        if children is None:  # finding the child of a metric costs a lock
            children = self.units_seconds.labels(consumer), self.events_handled.labels(consumer)
            self._units[consumer] = children
        children[0].observe(seconds)
        children[1].inc(events)

    def lag(self, consumer: str, topic: str, records: int) -> None:
        """Set the number of records that the consumer has not read yet."""
        self.consumer_lag.labels(consumer, topic).set(records)

    def dead_letter(self, consumer: str) -> None:
        """Count a dead letter."""
        self.dead_letters.labels(consumer).inc()

    def page(self, channel: str, outcome: str) -> None:
        """Count an attempt to deliver a page. `outcome`: `sent`, `try_again` or `gave_up`."""
        self.pages.labels(channel, outcome).inc()

    def page_delayed(self, channel: str, reason: str) -> None:
        """Count a page that began to wait. `reason`: `rate_limit`, `busy`, `down`, `quiet_hours` or `budget`."""
        self.pages_delayed.labels(channel, reason).inc()

    def handed_over(self, late_seconds: float) -> None:
        """Observe the seconds from the due time of a page to its hand-over to the channel."""
        self.page_lateness.observe(late_seconds)

    def audit(self, outcome: str) -> None:
        """Count an audit. `outcome`: `done` or `failed`."""
        self.audits.labels(outcome).inc()

    def findings(self, numbers: Mapping[str, int]) -> None:
        """Set the number of rows that each check has found. A check that is not in `numbers` has found none."""
        self._checks |= numbers.keys()
        for check in self._checks:
            self.audit_findings.labels(check).set(numbers.get(check, 0))

    def heartbeat(self, outcome: str) -> None:
        """Count a heartbeat. `outcome`: `sent` or `failed`."""
        self.heartbeats.labels(outcome).inc()

    def promise(self, outcome: str) -> None:
        """Count a response clock that ended. `outcome`: `met`, `missed` or `cancelled`."""
        self.promises.labels(outcome).inc()

    def profile_dropped(self, numbers: Mapping[str, int]) -> None:
        """Count data beyond the bounds of a profile. Kinds: `fact`, `text` (shortened), `hit`, `field`, `refused`, `untyped`, `origin`."""
        for kind, number in numbers.items():
            self.profile_data_dropped.labels(kind).inc(number)

    def queues(self, leads: Mapping[str, int]) -> None:
        """Set the number of waiting leads of each pool. A pool that is not in `leads` has none."""
        self._pools |= leads.keys()
        for pool in self._pools:
            self.queue_leads.labels(pool).set(leads.get(pool, 0))

    def config(self, ok: bool) -> None:
        """Set whether the current configuration files are valid."""
        self.config_ok.set(ok)

    def database(self, size: int) -> None:
        """Set the bytes of data in the embedded database file."""
        self.database_bytes.set(size)

    def outbox(self, oldest_seconds: Callable[[], float]) -> None:
        """Set the function that returns the age of the oldest unpublished record."""
        self.outbox_seconds.set_function(oldest_seconds)

    def text(self) -> bytes:
        """Return the exposition, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)
