"""In any order of appends, failures and restarts, acknowledged rows arrive, and those of one key in their order."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firsthour.runtime.storage.unit import StorageError
from tests.examples import examples
from tests.unit.runtime.eventlog.appending_gateway import (
    NARROW,
    ROOMY,
    AppendingGateway,
    FakeBroker,
    assert_in_order,
    by_key,
    row,
    run_pending_tasks,
)


class RetryingClients:
    """Clients that append the rows of their key one after the other, while the broker fails and the gateway restarts."""

    def __init__(self, file: Path, bytes_max: int) -> None:
        self.file, self.bytes_max, self.broker = file, bytes_max, FakeBroker()
        self.gateway = AppendingGateway(self.broker, file, bytes_max)
        self.acknowledged: list[str] = []
        self.sent = 0
        self.last: dict[str, asyncio.Task[None]] = {}

    async def execute(self, action: tuple[str, str]) -> None:
        name, argument = action
        if name == "append":
            self.sent += 1
            self._after(argument, partial(self._append, argument, f"{argument}.{self.sent}"))
        elif name == "step":
            self._after("", self._step)
        elif name == "mode":
            self.broker.mode = argument  # type: ignore[assignment]  # drawn from the modes
        elif name == "wait":
            await run_pending_tasks(int(argument))
        elif name == "commit" and self.gateway.spool:
            await self.gateway.spool.oldest()
        elif name == "all":
            await asyncio.gather(*self.last.values())
        elif name == "restart":
            await self.restart()

    async def restart(self) -> None:
        """Cancel all tasks, and open a new gateway on the same file."""
        for task in self.last.values():
            task.cancel()
        await asyncio.gather(*self.last.values(), return_exceptions=True)
        self.last.clear()
        await self.gateway.close()
        self.gateway = AppendingGateway(self.broker, self.file, self.bytes_max)

    async def end(self) -> None:
        await asyncio.gather(*self.last.values())
        self.broker.mode = "answers"
        await self.gateway.settle()
        for key in "abc":
            await self._append(key, f"{key}.end")
        await self.gateway.settle()
        assert self.gateway.appender.spooled == 0
        await self.gateway.close()
        assert_in_order(self.broker, by_key(self.acknowledged))

    def _after(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        previous = self.last.get(key)

        async def whole() -> None:
            if previous is not None:
                await previous
            await work()

        self.last[key] = asyncio.create_task(whole())

    async def _append(self, key: str, id: str) -> None:
        try:
            await self.gateway.appender.append([row(id, key, 1_500)])
        except StorageError:
            return
        self.acknowledged.append(id)

    async def _step(self) -> None:
        await self.gateway.appender.step()


ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from("abc")),
    st.tuples(st.just("append"), st.sampled_from("abc")),
    st.tuples(st.just("step"), st.just("")),
    st.tuples(
        st.just("mode"),
        st.sampled_from(["answers", "answers", "slow", "silent", "loses acks", "takes half", "delivers late"]),
    ),
    st.tuples(st.just("wait"), st.sampled_from(["1", "2", "5", "30"])),
    st.tuples(st.sampled_from(["commit", "commit", "all", "restart"]), st.just("")),
)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(ACTIONS, min_size=5, max_size=50), narrow=st.booleans())
def test_acknowledged_rows_are_neither_lost_nor_overtaken(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str]], narrow: bool
) -> None:
    async def story() -> None:
        clients = RetryingClients(tmp_path_factory.mktemp("spool") / "spool.db", NARROW if narrow else ROOMY)
        for action in actions:
            await clients.execute(action)
        await clients.end()

    asyncio.run(story())
