"""`firsthour spool drain`: sends the spool of a gateway that is gone to Kafka."""

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
"""Opens a producer to the brokers of these settings. Entering may raise `BrokerError`."""

_UNBOUNDED: Final = 1 << 42  # a spool that is being emptied needs no limit


@dataclass
class _Drain:
    """The result."""

    handed_over: int = 0
    left: int = 0
    why: str | None = None  # why events are left; None: none are


def commands_over(connect: Connect) -> typer.Typer:
    """Return the commands. `connect` opens the producer."""
    commands = typer.Typer(
        help="Spool of a gateway: drain.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )

    @commands.callback()
    def group() -> None:
        """Spool of a gateway: drain."""

    @commands.command()
    def drain(
        directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of the gateway that is gone.")],
        as_json: AsJson = False,
    ) -> None:
        """Send the events in the spool of a gateway that will not start again to Kafka, in order.

        A running gateway empties its spool by itself. An interrupted run loses nothing: run the command again.

        Example: firsthour spool drain /var/lib/firsthour/gateway-2
        """
        process_settings = settings.load()
        if process_settings.kafka_bootstrap is None:
            fail(BAD_INPUT, f"{settings.PREFIX}KAFKA_BOOTSTRAP: is not set; name the brokers to send the events to")
        file = directory / FILE
        if not file.is_file():
            fail(BAD_INPUT, f"{directory}: holds no spool; name the data directory of a gateway")
        try:
            with hold(directory):
                result = run(lambda: _drain(file, process_settings, connect))
        except AlreadyRunningError:
            fail(NO, f"{directory}: a running gateway uses it, and empties the spool by itself when Kafka answers")
        if as_json:
            print_json({"handed_over": result.handed_over, "left": result.left})
        elif result.why is None:
            say(f"{result.handed_over} events were sent; the spool is empty.")
        if result.why is not None:
            complain([f"{result.why}; {result.handed_over} events were sent, {result.left} are left in {file}"])
            raise typer.Exit(NO)

    return commands


async def _drain(file: Path, process_settings: Settings, connect: Connect) -> _Drain:
    result = _Drain()
    spool = Spool(file, _UNBOUNDED, HostClock())
    spool.start()
    if spool.problem is not None:
        fail(NO, f"{file}: cannot be used ({spool.problem}); check its permissions and the room on the disk")
    try:
        async with connect(process_settings) as producer:
            while handed_over := await hand_over(spool, producer):
                result.handed_over += handed_over
    except BrokerError as failure:
        result.why = f"Kafka refused the events ({failure}); nothing is lost, run the command again when Kafka answers"
    except StorageError as failure:
        result.why = f"{failure}; run the command again when the disk can be written"
    finally:
        await spool.close()
    result.left = spool.count
    return result


@contextlib.asynccontextmanager
async def producer_of(process_settings: Settings) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(
        connection_options.kafka_options(process_settings),
        process_settings.kafka_prefix,
        process_settings.kafka_partitions,
    )
    try:
        yield producer
    finally:
        await producer.close()


app = commands_over(producer_of)
