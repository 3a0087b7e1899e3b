"""The answer of `/readyz` on the distributed profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from firsthour.bootstrap.database_monitor import DatabaseMonitor
from firsthour.bootstrap.partitions import CurrentWorkers
from firsthour.bootstrap.readiness import OK, common_warnings, readiness_of, worker_warnings
from firsthour.bootstrap.runners import ProcessState
from firsthour.bootstrap.services import GATEWAY
from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.outbox import NOT_READY_AGE, WARNING_AGE
from firsthour.runtime.eventlog.publisher import Publisher
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness
from firsthour.runtime.processing.service import Runner
from firsthour.runtime.processing.ticker import failing
from firsthour.runtime.storage.config_versions import AppliedConfig


@dataclass(frozen=True)
class DistributedReadiness:
    """A gateway is ready while Kafka or its spool accepts events. Other services are ready while they are in their consumer
    groups and the database is reachable."""

    config: AppliedConfig
    keys: auth.Keys
    monitor: DatabaseMonitor
    publisher: Publisher
    workers: CurrentWorkers
    logs: Sequence[KafkaLog]
    runners: Mapping[str, Runner]
    state: ProcessState
    intake: DurableAppend | None  # None: the gateway does not run here
    more: bool  # a service other than the gateway runs here

    def __call__(self) -> Readiness:
        checks: dict[str, str] = {}
        warnings = self._warnings()
        if self.intake is not None:
            checks["intake"] = self.intake.ready()
        if self.more:
            checks["database"] = self.monitor.database
        elif self.monitor.database != OK:
            warnings.append(f"database: {self.monitor.database}; events are accepted, other requests are not")
        warnings += self.monitor.warnings()
        checks |= self._reading()
        checks |= failing(self.runners.values())
        publishing, delays = _publishing(self.publisher)
        warnings += delays
        if self.more:
            checks["publishing"] = publishing
        if self.state.leaving:
            checks["process"] = "is stopping"
        return replace(readiness_of(checks, warnings), spooled=self.intake.spooled if self.intake else None)

    def _warnings(self) -> list[str]:
        front = self.intake is not None
        if self.config.is_loaded:
            warnings = common_warnings(self.config, self.keys, self.runners, self.workers, secrets=front)
        else:
            warnings = worker_warnings(self.keys, self.workers)
        if self.intake is not None:
            warnings += self.intake.warnings()
            if self.intake.spooled:
                warnings.append(f"{self.intake.spooled} events wait in the spool")
        for log in self.logs:
            if log.service == GATEWAY:
                warnings += [f"{name}: {state}" for name, state in _reading(log).items() if state != OK]
        warnings += [f"{one.name}: {one.stopped}" for one in self.workers if one.consumer == GATEWAY and one.stopped]
        return warnings

    def _reading(self) -> dict[str, str]:
        """Return the checks of the consumers: their groups, and partitions and workers that cannot go on.

        Those of a gateway are warnings: it accepts requests also while it cannot read what others write to Kafka.
        """
        checks: dict[str, str] = {}
        for log in self.logs:
            if log.service != GATEWAY:
                checks |= _reading(log)
        stopped = (worker for worker in self.workers if worker.stopped and worker.consumer != GATEWAY)
        return checks | {worker.name: worker.stopped or "" for worker in stopped}


def _reading(log: KafkaLog) -> dict[str, str]:
    """Return the checks of one consumer."""
    checks = {f"{log.group}.kafka": OK if log.joined else "not in its consumer group yet"}
    for topic, partition in sorted(log.foreign):
        remedy = "the topic was created again for an old database; delete its rows in `cursors`, or restore the topic"
        checks[f"{log.service}.{topic}/{partition}"] = f"the partition ends before the stored position; {remedy}"
    return checks


def _publishing(publisher: Publisher) -> tuple[str, list[str]]:
    """Return the check of publishing (`ok`, or how long a record has waited), and its warnings, which come earlier."""
    age, warnings = publisher.age(), []
    if publisher.trouble:
        warnings.append(f"publishing is delayed: {publisher.trouble}")
    if age is None or age.waited < WARNING_AGE:
        return OK, warnings
    warnings.append(str(age))
    return OK if age.waited < NOT_READY_AGE else str(age), warnings
