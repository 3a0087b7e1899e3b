"""The common parts of the producer and the consumer of Kafka: failures of the client library, and stopping a client.

Correctness does not depend on Kafka's consumer groups. The position of a reader is the cursor in the database; offsets are
committed to Kafka only so that its tools show the lag. A rebalance, a stuck client, or a client that still reads a partition
it has lost, only costs time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any, Final

from aiokafka.errors import KafkaError

START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 8.0

FAILURES: Final = (KafkaError, OSError, TimeoutError)

# aiokafka warns at every retry. FirstHour itself logs one line for all retries.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def ignore_result(future: "asyncio.Future[Any]") -> None:
    """Retrieve the exception of a future that no caller awaits, so that asyncio does not report it."""
    if not future.cancelled():
        future.exception()


async def result_within(seconds: float, request: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a request, or None if it failed or took longer.

    A request that takes longer is not cancelled but left to end by itself: the client library does not survive
    cancellation.
    """
    task = asyncio.ensure_future(request)
    task.add_done_callback(ignore_result)
    done, _ = await asyncio.wait([task], timeout=seconds)
    return task.result() if done and not task.cancelled() and task.exception() is None else None


async def stop_client(stopping: Coroutine[Any, Any, None]) -> None:
    """Stop a client in any state; failures are ignored."""
    with contextlib.suppress(*FAILURES):
        async with asyncio.timeout(STOP_SECONDS):
            await stopping
