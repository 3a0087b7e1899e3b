"""Sends the rows of several partitions at once, with a result for each.

The failure of one partition does not affect another. Sending ends when every partition has its answer, or when the quick
ones have waited long enough: the rest is cut off. Rows that were cut off may still arrive, and are then delivered twice.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from firsthour.runtime.eventlog.outbox import OutboxRow
from firsthour.runtime.eventlog.producer import BrokerError, RecordRefusedError
from firsthour.runtime.storage.records import Place

SEND_SECONDS: Final = 8.0  # how long a transaction may wait for the broker
PATIENCE_SECONDS: Final = 1.0  # partitions that were acknowledged wait at least so long for the others

Sent = dict[asyncio.Task[None], Place]


class RecordSender(Protocol):
    """Sends the rows of a partition."""

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        """Send keys and bodies in this order, and return once all are acknowledged.

        Raises:
            BrokerError: some were not acknowledged; they may still have arrived.
            RecordRefusedError: one of them will never be taken; those before it are acknowledged.
        """


class PublishResult(NamedTuple):
    """The outcome for the rows of a partition."""

    acknowledged: int = 0  # number of rows, from the oldest on
    refused: str | None = None  # why the broker will never take the next row
    problem: str | None = None  # why the rest was not taken
    cut_off: bool = False  # no answer, while other partitions waited
    slow: bool = False  # acknowledged, but later than the other partitions wait


async def send_all(sender: RecordSender, rows: Mapping[Place, Sequence[OutboxRow]]) -> dict[Place, PublishResult]:
    """Send the rows of each partition independently. Return a result for each partition with rows."""
    tasks: Sent = {}
    for place, these in rows.items():
        if these:
            body = [(row.key, row.body) for row in these]
            tasks[asyncio.create_task(sender.publish(place[0], place[1], body))] = place
    if not tasks:
        return {}
    start = asyncio.get_running_loop().time()
    try:
        done, waiting = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)  # nearly always all of them
        prompt = set(done)
        if waiting:
            done, waiting = await _wait_on(done, waiting, start)
    finally:
        for task in tasks:
            task.cancel()
    results = {tasks[task]: _result(task, len(rows[tasks[task]]), task not in prompt) for task in done}
    quick = any(result.acknowledged for result in results.values())
    await asyncio.gather(*waiting, return_exceptions=True)
    silent = PublishResult(problem="the broker did not answer in time", cut_off=quick)
    return results | {tasks[task]: silent for task in waiting}


async def _wait_on(
    done: Collection[asyncio.Task[None]], waiting: Collection[asyncio.Task[None]], start: float
) -> tuple[set[asyncio.Task[None]], set[asyncio.Task[None]]]:
    """Wait for the rest: for a first acknowledgement up to the limit of a transaction, and then for as long again as it
    took."""
    now = asyncio.get_running_loop().time
    finished, rest = set(done), set(waiting)
    end = start + SEND_SECONDS
    if any(map(_acknowledged, finished)):
        return finished, rest
    while rest and now() < end:
        some, rest = await asyncio.wait(rest, timeout=end - now(), return_when=asyncio.FIRST_COMPLETED)
        finished |= some
        if any(map(_acknowledged, some)):
            break
    if rest and now() < end:
        some, rest = await asyncio.wait(rest, timeout=min(end - now(), now() - start))
        finished |= some
    return finished, rest


def _acknowledged(task: "asyncio.Task[None]") -> bool:
    return not task.cancelled() and (task.exception() is None or isinstance(task.exception(), RecordRefusedError))


def _result(task: "asyncio.Task[None]", rows: int, late: bool) -> PublishResult:
    if task.cancelled():
        return PublishResult(problem="sending was cancelled")
    failure = task.exception()
    if failure is None:
        return PublishResult(acknowledged=rows, slow=late)
    if isinstance(failure, RecordRefusedError):
        return PublishResult(acknowledged=failure.acknowledged, refused=failure.why, slow=late)
    if isinstance(failure, BrokerError):
        return PublishResult(problem=str(failure))
    if isinstance(failure, Exception):
        return PublishResult(problem=f"sending failed: {type(failure).__name__}")
    raise failure
