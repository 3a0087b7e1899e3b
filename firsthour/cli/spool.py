"""`firsthour spool drain`: hands over what a gateway that is gone left in its spool."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog.durable_append import hand_over
from firsthour.runtime.eventlog.kafka_producer import KafkaProducer
from firsthour.runtime.eventlog.producer import BrokerError, Producer
from firsthour.runtime.eventlog.spool import FILE, Spool
from firsthour.runtime.http.errors import BAD_INPUT, NO
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.data_directory import AlreadyRunningError, hold
from firsthour.runtime.storage.unit import StorageError
from firsthour.runtime.terminal import AsJson, complain, fail, print_json, run, say

Connect = Callable[[Settings], AbstractAsyncContextManager[Producer]]
"""Gives a producer to the broker of these settings. Entering may raise `BrokerError`."""

_UNBOUNDED: Final = 1 << 42  # a spool that is being emptied needs no limit


@dataclass
class _Drain:
    """What came of it."""

    handed_over: int = 0
    left: int = 0
    why: str | None = None  # what ended it too early; None when nothing was left


def commands_over(connect: Connect) -> typer.Typer:
    """Return the commands, over a producer that `connect` gives."""
    commands = typer.Typer(
        help="The spool of a gateway.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )

    @commands.callback()
    def group() -> None:
        """The spool of a gateway."""

    @commands.command()
    def drain(
        directory: Annotated[
            Path, typer.Argument(metavar="DIR", help="The data directory of the gateway that is gone.")
        ],
        as_json: AsJson = False,
    ) -> None:
        """Send to Kafka, in order, what a gateway that will not come back kept while Kafka did not answer.

        A gateway that runs empties its spool itself. Dying on the way loses nothing: run it again.

        Example: firsthour spool drain /var/lib/firsthour/gateway-2
        """
        known = settings.load()
        if known.kafka_bootstrap is None:
            fail(BAD_INPUT, f"{settings.PREFIX}KAFKA_BOOTSTRAP: is not set; name the brokers the events are to go to")
        file = directory / FILE
        if not file.is_file():
            fail(BAD_INPUT, f"{directory}: no spool is here; name the data directory of a gateway")
        try:
            with hold(directory):
                done = run(lambda: _drain(file, known, connect))
        except AlreadyRunningError:
            fail(NO, f"{directory}: a gateway that runs uses it, and empties its spool itself once Kafka answers")
        if as_json:
            print_json({"handed_over": done.handed_over, "left": done.left})
        elif done.why is None:
            say(f"{done.handed_over} events were handed over; the spool is empty.")
        if done.why is not None:
            complain([f"{done.why}; {done.handed_over} events were handed over, {done.left} are left in {file}"])
            raise typer.Exit(NO)

    return commands


async def _drain(file: Path, known: Settings, connect: Connect) -> _Drain:
    done = _Drain()
    spool = Spool(file, _UNBOUNDED, HostClock())
    spool.start()
    if spool.problem is not None:
        fail(NO, f"{file}: cannot be used ({spool.problem}); check who may write it, and that the disk has room")
    try:
        async with connect(known) as producer:
            while handed_over := await hand_over(spool, producer):
                done.handed_over += handed_over
    except BrokerError as failure:
        done.why = f"Kafka did not take them ({failure}); nothing is lost, run it again when it answers"
    except StorageError as failure:
        done.why = f"{failure}; run it again when the disk can be written"
    finally:
        await spool.close()
    done.left = spool.count
    return done


@contextlib.asynccontextmanager
async def producer_of(known: Settings) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(connection_options.kafka_options(known), known.kafka_prefix, known.kafka_partitions)
    try:
        yield producer
    finally:
        await producer.close()


app = commands_over(producer_of)
