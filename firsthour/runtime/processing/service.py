"""A service as data, and what it is given to run on."""

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
"""Load, decide, store, emit. Gets only records this consumer has not seen."""


@dataclass(frozen=True)
class Tick:
    """Work that time brings. `run` does a bounded piece of what is due and returns when the next is due (business
    time; at or before now: at once; None: nothing known). Run when woken by name, when due, and every second."""

    name: str
    run: Callable[[Unit], datetime | None]
    every_seconds: float = 1.0  # real


Sweep = Callable[[Unit, int], int]
"""Housekeeping: removes at most so many rows that have been kept for long enough, found by an index; how many it removed."""


class Runner(Protocol):
    """Something that goes on by itself, and can also be moved step by step (tests do)."""

    @property
    def name(self) -> str: ...

    async def step(self) -> bool:
        """Do what can be done now; whether anything was."""

    async def run(self) -> None:
        """Go on for ever."""


@dataclass(frozen=True)
class Resources:
    """What a service stands on, made once by `compose`."""

    settings: Settings
    clock: Clock
    config: Configs
    units: Units
    reads: Reader
    log: EventLog
    telemetry: Telemetry
    wake: Callable[[str], None]  # a runner by name


@dataclass(frozen=True)
class Service:
    """One service: what it hears and what it does then, what time brings, its HTTP, what it runs beside (delivery)."""

    name: str
    hears: Mapping[str, Handler] = field(default_factory=dict)
    linger_seconds: Mapping[str, float] = field(default_factory=dict)  # of bulk topics: `LINGER_SECONDS`
    ticks: tuple[Tick, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    api: Callable[[Resources], APIRouter] | None = None
    runners: Callable[[Resources], Sequence[Runner]] | None = None
