"""A server in a process of its own, which answers questions about itself over a pipe."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from firsthour.bench import systems
from firsthour.bench.stages import StageTimes
from firsthour.bench.systems import open_embedded
from firsthour.runtime.http import server


def serve(pipe: Connection, home: Path | None, only: Sequence[str] | None, slack_url: str | None, staged: bool) -> None:
    """Serve until `stop` arrives. Without a home: an application that only reads the body and answers 202."""
    systems.run(_serve(pipe, home, only, slack_url, StageTimes() if staged else None))


async def _serve(
    pipe: Connection,
    home: Path | None,
    only: Sequence[str] | None,
    slack_url: str | None,
    stages: StageTimes | None,
) -> None:
    stop = server.StopSignal()
    system = await open_embedded(home, only=only, slack_url=slack_url, stages=stages) if home is not None else None
    running = asyncio.create_task(system.run()) if system else None
    bound = server.listen("127.0.0.1", 0)
    answers: dict[str, Callable[[], Any]] = {
        "cpu": systems.cpu_seconds,
        "memory": systems.memory_bytes,
        "pid": os.getpid,
    }
    app = system.app if system else _bare
    if stages is not None:
        answers["stages"], app = stages.take, stages.application(app)

    async def answer() -> None:
        await systems.answer(pipe, answers)
        stop.ask()

    async def started() -> None:
        pipe.send(server.port_of(bound))
        tasks.append(asyncio.create_task(answer()))

    tasks: list[asyncio.Task[None]] = []
    await server.serve(app, bound, stop, started)
    if system and running:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await system.close()


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"11")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"ids":[1]}'})


@dataclass(frozen=True)
class ServerProcess:
    """A server process, as its client sees it."""

    pipe: Connection
    port: int

    def ask(self, question: str) -> Any:
        """Return the answer of the process. `cpu`: seconds used so far; `memory`: bytes resident; `stages`: see `StageTimes.take`."""
        self.pipe.send(question)
        return self.pipe.recv()


@contextmanager
def server_process(
    home: Path | None, only: Sequence[str] | None = None, slack_url: str | None = None, *, staged: bool = False
) -> Iterator[ServerProcess]:
    """Run a server process while the context is open.

    `home`: see `serve`; `slack_url`: the base URL of Slack's API; `staged`: it times the stages of each lead.
    """
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=serve, args=(theirs, home, only, slack_url, staged))
    process.start()
    theirs.close()
    try:
        yield ServerProcess(ours, ours.recv())
    finally:
        if process.is_alive():
            ours.send("stop")
        process.join(20)
        process.kill()
