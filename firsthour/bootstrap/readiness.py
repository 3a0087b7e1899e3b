"""The answer of `/readyz` on each profile, and the warnings that are also logged at the start."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from firsthour.bootstrap.monitors import DatabaseMonitor, Gauges
from firsthour.bootstrap.partitions import CurrentWorkers
from firsthour.bootstrap.runners import ProcessState
from firsthour.kernel.config import Config
from firsthour.runtime.config import host_warnings, source_secrets
from firsthour.runtime.config.reading import ConfigFiles, Configs
from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.kafka_consumer import KafkaLog
from firsthour.runtime.eventlog.outbox import NOT_READY_AGE, WARNING_AGE
from firsthour.runtime.eventlog.publisher import Publisher
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness
from firsthour.runtime.processing.service import Runner
from firsthour.runtime.processing.ticker import failing
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings, environ
from firsthour.runtime.storage.config_versions import AppliedConfig
from firsthour.runtime.storage.sqlite import SqliteUnits
from services.notifier.context import DELIVERY
from services.notifier.delivery import Delivery

OK: Final = "ok"

# --- warnings ------------------------------------------------------------------------------------------------------


class ConfigWarning(NamedTuple):
    """A setting that the operator should change. `event`: of the log; `fatal`: the process must not start with it."""

    event: str
    text: str
    fatal: bool = False


def config_warnings(config: Config, runners: Mapping[str, Runner], *, secrets: bool = True) -> Iterator[ConfigWarning]:
    """Yield warnings about the configuration, the secrets of sources, and channels that cannot send.

    Args:
        config: the configuration in force.
        runners: of this process; the delivery of pages has the warnings of the channels.
        secrets: this process has the secrets of sources.
    """
    for text in config.warnings:
        yield ConfigWarning("unwise configuration", text)
    if secrets:
        examined = source_secrets.examine(config, environ())
        for error in examined.errors:
            yield ConfigWarning("secret unusable", str(error), fatal=True)
        for text in examined.warnings:
            yield ConfigWarning("secret missing", text)
    delivery = runners.get(DELIVERY)
    if isinstance(delivery, Delivery):
        for text in delivery.warnings():
            yield ConfigWarning("channel unusable", text)


def startup_warnings(
    settings: Settings, config: Config, runners: Mapping[str, Runner], *, front: bool = True
) -> list[ConfigWarning]:
    """Return every warning of the start. The configuration is needed, because variables that it names are no mistakes.

    Args:
        settings: of this process.
        config: the configuration in force.
        runners: of this process.
        front: the gateway runs here, which keeps data and has the secrets of sources.
    """
    host = host_warnings.warnings(settings, config.sources, keeps_data=front)
    return [
        *(ConfigWarning("unwise setting", text) for text in host),
        *config_warnings(config, runners, secrets=front),
    ]


def _common_warnings(
    config: Configs, keys: auth.Keys, runners: Mapping[str, Runner], workers: Iterable[Worker], *, secrets: bool
) -> list[str]:
    """Return the warnings of both profiles. The configuration is known."""
    current = config.current
    warnings = []
    if config.problem is not None:
        warnings.append(f"configuration refused, version {current.version} stays in force: {config.problem}")
    warnings += [warning.text for warning in config_warnings(current, runners, secrets=secrets)]
    return warnings + _worker_warnings(keys, workers)


def _worker_warnings(keys: auth.Keys, workers: Iterable[Worker]) -> list[str]:
    """Return the warnings that need no configuration: old keys, and workers that wait for the database."""
    return [*keys.warnings(), *(f"{worker.name} waits: {worker.waits_for}" for worker in workers if worker.waits_for)]


def _readiness(checks: dict[str, str], warnings: Sequence[str]) -> Readiness:
    return Readiness(all(state == OK for state in checks.values()), checks, tuple(warnings))


# --- the profiles --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EmbeddedReadiness:
    """Ready while every worker runs and the writer can commit."""

    config: ConfigFiles
    keys: auth.Keys
    units: SqliteUnits
    workers: Sequence[Worker]
    runners: Mapping[str, Runner]
    gauges: Gauges

    def __call__(self) -> Readiness:
        checks = {f"{worker.consumer}.{worker.topic}": worker.stopped or OK for worker in self.workers}
        checks["writer"] = (self.units.trouble or OK) if self.units.alive else "the writer ended"
        checks |= failing(self.runners.values())
        warnings = _common_warnings(self.config, self.keys, self.runners, self.workers, secrets=True)
        return _readiness(checks, [*warnings, *self.units.warnings(), *self.gauges.warnings()])


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
        checks |= self._reading()
        checks |= failing(self.runners.values())
        publishing, delays = _publishing(self.publisher)
        warnings += delays
        if self.more:
            checks["publishing"] = publishing
        if self.state.leaving:
            checks["process"] = "is stopping"
        return _readiness(checks, warnings)

    def _warnings(self) -> list[str]:
        front = self.intake is not None
        if self.config.is_loaded:
            warnings = _common_warnings(self.config, self.keys, self.runners, self.workers, secrets=front)
        else:
            warnings = _worker_warnings(self.keys, self.workers)
        if self.intake is not None:
            warnings += self.intake.warnings()
            if self.intake.spooled:
                warnings.append(f"{self.intake.spooled} events wait in the spool")
        return warnings

    def _reading(self) -> dict[str, str]:
        """Return the checks of the consumers: their groups, and partitions and workers that cannot go on."""
        checks = {}
        for log in self.logs:
            checks[f"{log.group}.kafka"] = OK if log.joined else "not in its consumer group yet"
            for topic, partition in sorted(log.foreign):
                remedy = "the topic was created again for an old database; delete its rows in `cursors`, or restore the topic"
                checks[f"{log.service}.{topic}/{partition}"] = (
                    f"the partition ends before the stored position; {remedy}"
                )
        return checks | {worker.name: worker.stopped for worker in self.workers if worker.stopped}


def _publishing(publisher: Publisher) -> tuple[str, list[str]]:
    """Return the check of publishing (`ok`, or how long a record has waited), and its warnings, which come earlier."""
    age, warnings = publisher.age(), []
    if publisher.trouble:
        warnings.append(f"publishing is delayed: {publisher.trouble}")
    if age is None or age.waited < WARNING_AGE:
        return OK, warnings
    warnings.append(str(age))
    return OK if age.waited < NOT_READY_AGE else str(age), warnings
