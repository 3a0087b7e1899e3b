"""Run the runners of a process, wake them by name, and end the process when it is stuck."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from firsthour.kernel.normalisation.companies import company_domain
from firsthour.kernel.public_holidays import is_known
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.processing.retention import Housekeeping, standard_sweeps
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.processing.ticker import Ticker
from schemas.errors import FirstHourError

RESTART_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class StuckError(FirstHourError):
    """Raised when a Kafka consumer makes no progress and cannot recover. The supervisor should start another process."""


class RunnerRegistry:
    """The runners of a process by name."""

    def __init__(self) -> None:
        self.runners: dict[str, Runner] = {}

    def add(self, runners: Iterable[Runner]) -> None:
        """Register runners under their names."""
        self.runners |= {runner.name: runner for runner in runners}

    def wake(self, name: str) -> None:
        """Wake the runner of this name. No effect if the runner is not in this process or has no `wake`."""
        wake: Callable[[], None] | None = getattr(self.runners.get(name), "wake", None)
        if wake:
            wake()

    def wake_all(self, names: Iterable[str]) -> None:
        """Wake the runners of these names."""
        for name in names:
            self.wake(name)


class ProcessState:
    """The state of a process: stopping or stuck."""

    def __init__(self) -> None:
        self.leaving = False  # the process is stopping: it is not ready
        self.problem = ""  # the reason why the process is stuck; empty: it is not
        self._stuck = asyncio.Event()

    def give_up(self, problem: str) -> None:
        """Mark the process as stuck. `problem`: the reason."""
        self.problem = problem
        self._stuck.set()

    async def raise_when_stuck(self) -> None:
        """Wait until the process is stuck. Raises `StuckError`."""
        await self._stuck.wait()
        raise StuckError(self.problem)


def service_runners(services: Sequence[Service], resources: Resources, *, embedded: bool) -> list[Runner]:
    """Return the runners of these services: their ticks, the sweeps, and their own runners."""
    settings = resources.settings
    tickers = [Ticker(tick, resources.units, resources.clock) for service in services for tick in service.ticks]
    sweeps = [
        *standard_sweeps(retention_of(settings), database_bytes_max=settings.database_bytes_max if embedded else None),
        *(sweep for service in services for sweep in service.sweeps),
    ]
    others = [runner for service in services if service.runners for runner in service.runners(resources)]
    return [*tickers, Housekeeping(sweeps, resources.units), *others]


def load_lists(*, suffixes: bool = True, holidays: bool = True) -> None:
    """Load at the start what would delay the first lead.

    Args:
        suffixes: the public suffixes, which the domains of companies need.
        holidays: those of all countries: half a second in which the first page would stop every request.
    """
    if suffixes:
        company_domain("warm.example")
    if holidays:
        is_known("DE")


async def run_all(runners: Iterable[Runner]) -> None:
    """Run all runners until cancelled, and restart each one that crashes."""
    async with asyncio.TaskGroup() as group:
        for runner in runners:
            group.create_task(keep_running(runner), name=runner.name)


async def keep_running(runner: Runner) -> None:
    """Run one runner until it returns, and restart it after a crash. No state is lost: all of it survives a process crash."""
    while True:
        try:
            await runner.run()
            return
        except Exception as failure:  # noqa: BLE001  # a crashed runner is logged and restarted
            _log.error("runner crashed", consumer=runner.name, exc_info=failure)
            await asyncio.sleep(RESTART_SECONDS)
