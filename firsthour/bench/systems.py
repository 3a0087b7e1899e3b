"""The measured systems: opened like the product, with the configuration and the channel of the benchmark."""

import asyncio
import resource
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, TypeVar

import uvloop
from pydantic import SecretStr

from firsthour.bench.fixtures import KEY
from firsthour.bench.stages import StageTimes
from firsthour.bootstrap.distributed import Distributed, open_distributed
from firsthour.bootstrap.embedded import System, open_clock, open_system
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.http import server
from firsthour.runtime.settings import Settings, load
from services.notifier.channels.base import Channel, Outcome, Sent
from services.notifier.channels.slack import SlackChannel
from services.notifier.domain.message import Message

T = TypeVar("T")

LOOK_SECONDS: Final = 0.002
SLACK_TOKEN: Final = "xoxb-of-the-bench"  # noqa: S105


class AcceptingChannel:
    """A channel that accepts every page at once."""

    name = "inbox"

    async def send(self, message: Message) -> Outcome:
        return Sent(message.page_id)

    async def close(self) -> None:
        """There is nothing to close."""


def channels_of(slack_url: str | None) -> dict[str, Channel]:
    """Return Slack at this base URL of its API; None: an inbox that accepts every page."""
    if slack_url is None:
        return {"inbox": AcceptingChannel()}
    return {"slack": SlackChannel(SLACK_TOKEN, slack_url, clickable=True)}


async def open_embedded(
    home: Path, *, only: Sequence[str] | None = None, slack_url: str | None = None, stages: StageTimes | None = None
) -> System:
    """Open the system with the data and the configuration in `home`.

    Args:
        home: the directory that `furnish` filled.
        only: these services alone. None: all.
        slack_url: see `channels_of`.
        stages: times the stages of each lead. None: they are not timed.
    """
    lock, clock = open_clock(home, 1.0)
    settings = load(config_dir=home / "config", data_dir=home, admin_key=SecretStr(KEY))
    channels = channels_of(slack_url)
    system = await open_system(settings, clock, ConfigFiles(home / "config"), channels, lock=lock, only=only)
    if stages is not None:
        stages.watch(system, channels.values())
    return system


async def open_services(settings: Settings, service_names: Sequence[str], slack_url: str | None) -> Distributed:
    """Open these services over Kafka and PostgreSQL. They know their configuration and the API keys when this returns."""
    system = await open_distributed(settings, service_names, channels_of(slack_url))
    await system.refresh()
    return system


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run like `firsthour up`: with the same event loop, and the same hand-over between loop and writer thread."""
    server.tune()
    return uvloop.run(main)


async def answer(pipe: Connection, answers: Mapping[str, Callable[[], Any]]) -> None:
    """Answer the questions from the pipe until `stop`, or until its other end is closed."""
    with suppress(EOFError):
        while (question := await asyncio.to_thread(pipe.recv)) != "stop":
            pipe.send(answers[question]())


async def serve(
    pipe: Connection, protocol: Callable[[], asyncio.Protocol], answers: Mapping[str, Callable[[], Any]]
) -> None:
    """Serve connections on a free port of this machine, which is sent first, and answer the questions from the pipe."""
    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    pipe.send(listening.sockets[0].getsockname()[1])
    await answer(pipe, answers)
    listening.close()


def failure(task: "asyncio.Task[None]") -> str | None:
    """Return why a task that should never end has ended. None: it still runs."""
    if not task.done():
        return None
    return "".join(traceback.format_exception(error)) if (error := task.exception()) else "it ended"


async def until(reached: Callable[[], bool]) -> None:
    """Wait until `reached`, asking every two milliseconds: a measured system must not do extra work to report."""
    while not reached():  # noqa: ASYNC110  # see above
        await asyncio.sleep(LOOK_SECONDS)


async def caught_up(system: System) -> None:
    """Return once every worker is at the end of its topic."""
    while any([await worker.lag() > 0 for worker in system.workers]):  # noqa: ASYNC110  # see `until`
        await asyncio.sleep(LOOK_SECONDS)


def cpu_seconds() -> float:
    """Return the CPU used by all threads of this process so far."""
    return time.process_time()


def memory_bytes() -> int:
    """Return the resident memory of this process; 0 where the operating system does not tell (Linux does)."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * resource.getpagesize() if file.exists() else 0
