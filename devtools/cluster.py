"""Brokers that know each other, and every way to stop one of them."""

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
        """Its `node.id`, from 1."""
        return self.node.id

    @property
    def bootstrap(self) -> str:
        """Its address alone."""
        return self.node.address

    @property
    def running(self) -> bool:
        """A paused one runs too."""
        return self.child.running

    def start(self) -> None:
        """Returns once its port answers: a broker opens it when the controller has taken it in. Raises `StartError`."""
        self.child.start()
        self.child.wait_until(lambda: machine.answers(self.node.port), START_SECONDS)

    def meet(self, brokers: int) -> None:
        """Returns once it knows so many of the cluster; till then it may refuse to make a topic of as many copies.
        Raises `StartError`."""
        self.child.wait_until(lambda: asyncio.run(_known(self.bootstrap)) >= brokers, START_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.child.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns. Started anew, it waits until its old session is over (9 s)."""
        self.child.end(signal.SIGKILL, STOP_SECONDS)

    def terminate(self) -> None:
        """SIGTERM: it hands its partitions over, and is gone when this returns."""
        self.child.end(signal.SIGTERM, START_SECONDS)


@dataclass(frozen=True)
class Secured:
    """The other door: SASL over TLS, PLAIN as well as SCRAM-SHA-256 and -512."""

    bootstrap: str
    ca_file: Path
    username: str = properties.USERNAME
    password: str = properties.PASSWORD


@dataclass
class KafkaCluster:
    """Brokers that know each other. `brokers` is empty when they are not ours to stop."""

    bootstrap: str  # "host:port,host:port"
    version: str
    brokers: list[Broker] = field(default_factory=list)
    throwaway: Path | None = None  # removed with the cluster
    secured: Secured | None = None  # when it was asked for

    @property
    def ours(self) -> bool:
        """We started it, so a test may stop it."""
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
    """How many brokers the one at this address knows."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except KafkaError:
        return 0
    finally:
        await client.close()


def each(items: Sequence[_Item], do: Callable[[_Item], None]) -> None:
    """All at the same time; the first error is raised when all are through."""
    if items:
        with ThreadPoolExecutor(len(items)) as pool:
            list(pool.map(do, items))
