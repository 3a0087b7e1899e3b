"""Sends the rows of several partitions at once, with a result for each.

The failure of one partition does not affect another. Sending ends when every partition has its answer, or when the quick
ones have waited long enough: the others are then cut off. Rows that were cut off may still arrive. They are then delivered
twice.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from firsthour.runtime.eventlog.outbox import OutboxRow
from firsthour.runtime.eventlog.producer import BrokerError, RecordRejectedError
from firsthour.runtime.storage.records import Place

SEND_SECONDS: Final = 8.0  # for which a transaction may wait for the broker
PATIENCE_SECONDS: Final = 1.0  # for which acknowledged partitions wait at least for the others

_Tasks = dict[asyncio.Task[None], Place]


class RecordSender(Protocol):
    """Sends the rows of a partition."""

    async def publish(self, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
        """Send keys and bodies in this order, and return once all are acknowledged.

        Raises:
            BrokerError: ended were not acknowledged; they may still have arrived.
            RecordRejectedError: one of them is rejected permanently; those before it are acknowledged.
        """


class PublishResult(NamedTuple):
    """The outcome for the rows of a partition."""

    acknowledged: int = 0  # number of rows, from the oldest on
    rejected: str | None = None  # the reason why the broker rejects the next row permanently
    problem: str | None = None  # the reason why the rest was not acknowledged
    cut_off: bool = False  # no answer, while other partitions waited
    slow: bool = False  # acknowledged, but later than the other partitions wait


async def send_all(sender: RecordSender, rows: Mapping[Place, Sequence[OutboxRow]]) -> dict[Place, PublishResult]:
    """Send the rows of each partition independently. Return a result for each partition with rows."""
    tasks: _Tasks = {}
    for place, rows_of_place in rows.items():
        if rows_of_place:
            bodies = [(row.key, row.body) for row in rows_of_place]
            tasks[asyncio.create_task(sender.publish(place[0], place[1], bodies))] = place
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
    """Wait for the first acknowledgement up to the limit of a transaction, then as long again for the others."""
    now = asyncio.get_running_loop().time
    finished, rest = set(done), set(waiting)
    end = start + SEND_SECONDS
    if any(map(_acknowledged, finished)):
        return finished, rest
    while rest and now() < end:
        ended, rest = await asyncio.wait(rest, timeout=end - now(), return_when=asyncio.FIRST_COMPLETED)
        finished |= ended
        if any(map(_acknowledged, ended)):
            break
    if rest and now() < end:
        ended, rest = await asyncio.wait(rest, timeout=min(end - now(), now() - start))
        finished |= ended
    return finished, rest


def _acknowledged(task: "asyncio.Task[None]") -> bool:
    return not task.cancelled() and (task.exception() is None or isinstance(task.exception(), RecordRejectedError))


def _result(task: "asyncio.Task[None]", rows: int, late: bool) -> PublishResult:
    if task.cancelled():
        return PublishResult(problem="sending was cancelled")
    failure = task.exception()
    if failure is None:
        return PublishResult(acknowledged=rows, slow=late)
    if isinstance(failure, RecordRejectedError):
        return PublishResult(acknowledged=failure.acknowledged, rejected=failure.reason, slow=late)
    if isinstance(failure, BrokerError):
        return PublishResult(problem=str(failure))
    if isinstance(failure, Exception):
        return PublishResult(problem=f"sending failed: {type(failure).__name__}")
    raise failure
