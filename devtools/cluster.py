"""A cluster of brokers, and every way to stop one of them."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from devtools import children, machine, properties

START_SECONDS = 90.0
STOP_SECONDS = 30.0

_Item = TypeVar("_Item")


@dataclass
class Broker:
    """One broker. Its ports and its data stay the same from one start to the next."""

    node: properties.Node
    child: children.ChildProcess

    @property
    def id(self) -> int:
        """Return its `node.id`, from 1."""
        return self.node.id

    @property
    def bootstrap(self) -> str:
        """Return its own address."""
        return self.node.address

    @property
    def running(self) -> bool:
        """Return whether the broker runs, or is paused."""
        return self.child.running

    def start(self) -> None:
        """Start the broker and wait for its port, which opens once the controller has registered it. Raises `StartError`."""
        self.child.start()
        self.child.wait_until(lambda: machine.answers(self.node.port), START_SECONDS)

    def meet(self, brokers: int) -> None:
        """Wait until it knows so many brokers. Until then it may refuse to create a topic with as many replicas.

        Raises `StartError`.
        """
        self.child.wait_until(lambda: asyncio.run(_known(self.bootstrap)) >= brokers, START_SECONDS)

    def pause(self) -> None:
        """Send SIGSTOP: connections stay open without answers."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.child.send(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end. A restarted broker waits until its old session is over (9 s)."""
        self.child.end(signal.SIGKILL, STOP_SECONDS)

    def terminate(self) -> None:
        """Send SIGTERM and wait for the end; the broker hands its partitions over before."""
        self.child.end(signal.SIGTERM, START_SECONDS)


@dataclass(frozen=True)
class Secured:
    """The second listener: SASL over TLS, with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512."""

    bootstrap: str
    ca_file: Path
    username: str = properties.USERNAME
    password: str = properties.PASSWORD


@dataclass
class KafkaCluster:
    """A cluster. `brokers`: empty if another program has started them."""

    bootstrap: str  # "host:port,host:port"
    version: str
    brokers: list[Broker] = field(default_factory=list)
    throwaway: Path | None = None  # removed with the cluster
    secured: Secured | None = None  # None: not requested

    @property
    def ours(self) -> bool:
        """Return whether this process started it, so that a test may stop it."""
        return bool(self.brokers)

    def stop(self) -> None:
        """End every broker, gracefully unless its data go too."""
        number = signal.SIGKILL if self.throwaway else signal.SIGTERM
        each(self.brokers, lambda broker: broker.child.end(number, STOP_SECONDS))
        if self.throwaway:
            children.discard(self.throwaway)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


async def _known(bootstrap: str) -> int:
    """Return how many brokers the broker at this address knows."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except KafkaError:
        return 0
    finally:
        await client.close()


def each(items: Sequence[_Item], do: Callable[[_Item], None]) -> None:
    """Call `do` with all items at the same time; raise the first error after all have ended."""
    if items:
        with ThreadPoolExecutor(len(items)) as pool:
            list(pool.map(do, items))
