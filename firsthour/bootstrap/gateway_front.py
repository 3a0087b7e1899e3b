"""The parts that only a process with a gateway has: the lock of its data directory, the spool, and the append that fills it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import IO

from firsthour.bootstrap.connections import ProcessBase
from firsthour.runtime.eventlog.dead_letters import dead_letter_rejected, retention_of
from firsthour.runtime.eventlog.durable_append import DurableAppend
from firsthour.runtime.eventlog.spool import FILE, Spool
from firsthour.runtime.storage.postgres import PostgresUnits
from firsthour.runtime.storage.records import Row, partition_of
from firsthour.runtime.storage.unit import Unit


@dataclass(frozen=True)
class GatewayFront:
    """The parts of a process with a gateway."""

    lock: IO[str]
    spool: Spool
    intake: DurableAppend


def open_front(base: ProcessBase, lock: IO[str], units: PostgresUnits) -> GatewayFront:
    """Start the spool, and let units append to the broker or the spool instead of the outbox."""
    spool = Spool(base.settings.data_dir / FILE, base.settings.spool_bytes_max, base.clock)
    spool.start()
    intake = DurableAppend(base.clients.producer(), spool, base.clock, dead_letter=_dead_letter_of(base, units))
    units.intake = intake.append  # assigned here, because dead letters of the spool need units themselves
    return GatewayFront(lock, spool, intake)


def _dead_letter_of(base: ProcessBase, units: PostgresUnits) -> Callable[[Row, str], Awaitable[None]]:
    """Return the function that stores a row of the spool that the broker refuses permanently, with the reason."""
    retention = retention_of(base.settings)

    async def dead_letter(row: Row, why: str) -> None:
        place = f"{row.topic}/{partition_of(row.key, base.settings.kafka_partitions)}"

        def store(unit: Unit) -> None:
            dead_letter_rejected(unit.connection, row, place, why, at=base.clock.real(), retention=retention)

        await units.run(store)

    return dead_letter
