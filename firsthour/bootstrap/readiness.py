"""Warnings that are logged at the start and answered by `/readyz`, and the readiness of the embedded profile."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from firsthour.bootstrap.monitors import Gauges
from firsthour.kernel.config import Config
from firsthour.operations.audit.auditor import AUDITOR, Auditor
from firsthour.runtime.config import host_warnings, source_secrets
from firsthour.runtime.config.reading import ConfigFiles, Configs
from firsthour.runtime.http import auth
from firsthour.runtime.http.app import Readiness
from firsthour.runtime.processing.service import Runner
from firsthour.runtime.processing.ticker import failing
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.settings import Settings, environ
from firsthour.runtime.storage.sqlite import SqliteUnits
from services.notifier.context import DELIVERY
from services.notifier.delivery import Delivery

OK: Final = "ok"


class ConfigWarning(NamedTuple):
    """A setting that the operator should change. `event`: of the log; `fatal`: the process must not start with it."""

    event: str
    text: str
    fatal: bool = False


def config_warnings(config: Config, runners: Mapping[str, Runner], *, secrets: bool = True) -> Iterator[ConfigWarning]:
    """Yield warnings about the configuration, the secrets of sources, and channels that cannot send.

    Args:
        config: the configuration in force.
        runners: the runners of this process. The one that delivers pages has the warnings of the channels.
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
        settings: the settings of this process.
        config: the configuration in force.
        runners: the runners of this process.
        front: the gateway runs here, which keeps data and has the secrets of sources.
    """
    host = host_warnings.warnings(settings, config, keeps_data=front)
    return [
        *(ConfigWarning("unwise setting", text) for text in host),
        *config_warnings(config, runners, secrets=front),
    ]


def common_warnings(
    config: Configs, keys: auth.Keys, runners: Mapping[str, Runner], workers: Iterable[Worker], *, secrets: bool
) -> list[str]:
    """Return the warnings of both profiles. The configuration is known."""
    current = config.current
    warnings = []
    if config.problem is not None:
        warnings.append(f"configuration refused, version {current.version} stays in force: {config.problem}")
    warnings += [warning.text for warning in config_warnings(current, runners, secrets=secrets)]
    auditor = runners.get(AUDITOR)
    if isinstance(auditor, Auditor):
        warnings += auditor.warnings()
    return warnings + worker_warnings(keys, workers)


def worker_warnings(keys: auth.Keys, workers: Iterable[Worker]) -> list[str]:
    """Return the warnings that need no configuration: old keys, and workers that wait for the database."""
    return [*keys.warnings(), *(f"{worker.name} waits: {worker.waits_for}" for worker in workers if worker.waits_for)]


def readiness_of(checks: dict[str, str], warnings: Sequence[str]) -> Readiness:
    return Readiness(all(state == OK for state in checks.values()), checks, tuple(warnings))


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
        warnings = common_warnings(self.config, self.keys, self.runners, self.workers, secrets=True)
        return readiness_of(checks, [*warnings, *self.units.warnings(), *self.gauges.warnings()])
