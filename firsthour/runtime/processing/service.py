"""A service as data, and the resources it runs on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from fastapi import APIRouter

from firsthour.runtime.clock import Clock
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.eventlog.log import EventLog
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit, Units

Handler = Callable[[Sequence[Record], Unit], None]
"""Loads, decides, stores and emits. Its records are those that this consumer has not seen."""


@dataclass(frozen=True)
class Tick:
    """Work that becomes due with time. It runs when woken by name, when due, and at an interval.

    `run` does a bounded part of the due work, and returns when the next part is due, in business time. A time that is not
    after now means at once; None means unknown.
    """

    name: str
    run: Callable[[Unit], datetime | None]
    every_seconds: float = 1.0  # real
    failed: Callable[[Exception, datetime], None] | None = (
        None  # called, with the real time, when a unit failed by itself
    )


Sweep = Callable[[Unit, int], int]
"""Removes up to the given number of expired rows, found by an index, and returns how many it removed."""


class Runner(Protocol):
    """A task that runs for ever, or step by step (in tests)."""

    @property
    def name(self) -> str: ...

    async def step(self) -> bool:
        """Do the work that can be done now. Return whether there was any."""

    async def run(self) -> None:
        """Run for ever."""


@dataclass(frozen=True)
class Resources:
    """The resources of a service, made once by bootstrap."""

    settings: Settings
    clock: Clock
    config: Configs
    units: Units
    reads: Reader
    log: EventLog
    telemetry: Telemetry
    wake: Callable[[str], None]  # wakes a runner by its name


@dataclass(frozen=True)
class Service:
    """One service: a handler for each topic it reads, its ticks, its HTTP API, and further runners (such as delivery)."""

    name: str
    hears: Mapping[str, Handler] = field(default_factory=dict)
    linger_seconds: Mapping[str, float] = field(default_factory=dict)  # of bulk topics: `LINGER_SECONDS`
    ticks: tuple[Tick, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    api: Callable[[Resources], APIRouter] | None = None
    runners: Callable[[Resources], Sequence[Runner]] | None = None
