"""The watchdog ends a process only for a reader that has records, has what it needs, and does not move."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from firsthour.bootstrap.partitions import PartitionWorkers
from firsthour.runtime.eventlog.kafka_consumer import STUCK_LOOKS, KafkaLog
from firsthour.runtime.processing.worker import Worker
from firsthour.runtime.storage.records import Place
from schemas import topics

PLACE = (topics.LEADS, 0)
ALL = {PLACE}


@pytest.fixture
def log() -> KafkaLog:
    """A view with ten records, which no reader has read."""
    log = KafkaLog("router", [topics.LEADS], {}, "")
    log.note(PLACE, 10)
    return log


def looks(log: KafkaLog, many: int, at: Callable[[int], int] = lambda n: 3, answered: set[Place] = ALL) -> list[str]:
    """Watch the log `many` times. Return the reasons to end the process."""
    messages: list[str] = []
    log.stuck = messages.append
    for n in range(many):
        positions: Mapping[Place, int] = {PLACE: at(n)}
        log.watch(positions, answered)
    return messages


def test_reader_without_progress_ends_the_process(log: KafkaLog) -> None:
    assert looks(log, STUCK_LOOKS - 1) == []
    assert looks(log, 1)[0].startswith("router makes no progress at leads/0/3")


def test_reader_with_progress_or_at_the_end_does_not_end_the_process(log: KafkaLog) -> None:
    assert looks(log, 3 * STUCK_LOOKS, lambda n: n // 4) == []
    assert looks(log, 3 * STUCK_LOOKS, lambda n: 10) == []


def test_silent_broker_does_not_end_the_process(log: KafkaLog) -> None:
    assert looks(log, 3 * STUCK_LOOKS, answered=set()) == []


@pytest.mark.parametrize("why", ["the database cannot be reached: OSError", "11 events in a row could not be handled"])
def test_waiting_or_stopped_reader_does_not_end_the_process(log: KafkaLog, why: str) -> None:
    log.waits = lambda place: why
    assert looks(log, 3 * STUCK_LOOKS) == []
    log.waits = lambda place: None
    assert looks(log, STUCK_LOOKS - 1) == [], "the minute begins when it could go on"
    assert looks(log, 1)


def test_wait_restarts_the_minute_without_progress(log: KafkaLog) -> None:
    looks(log, STUCK_LOOKS - 1)
    looks(log, 1, answered=set())
    assert looks(log, STUCK_LOOKS - 1) == []


# --- workers that wait -------------------------------------------------------------------------------------------------


def crew() -> PartitionWorkers:
    def make(topic: str, partitions: Sequence[int]) -> Worker:
        nothing: Any = SimpleNamespace()
        return Worker("router", topic, lambda batch, unit: None, nothing, nothing, nothing, partitions)

    return PartitionWorkers(make, lambda topic: 2, spawn=False)


def test_partition_workers_return_the_reason_of_each_wait() -> None:
    group = crew()
    group.assigned({(topics.LEADS, n) for n in range(4)})
    assert {group.waits((topics.LEADS, n)) for n in range(4)} == {None}
    first = group.workers[0]
    first.waits_for = "the database"
    waits = {n: group.waits((topics.LEADS, n)) for n in range(4)}
    assert waits == {n: "the database" if n in first.partitions else None for n in range(4)}
    first.stopped = "broken"
    assert group.waits((topics.LEADS, first.partitions[0])) == "broken"
    assert group.waits((topics.LEADS, 9)) is not None


def test_stopped_consumer_stays_stopped_after_a_new_assignment() -> None:
    group = crew()
    group.assigned({(topics.LEADS, 0), (topics.ACTIONS, 0)})
    stopped = next(worker for worker in group.workers if worker.topic == topics.LEADS)
    stopped.stopped = "11 events in a row could not be handled"
    for _ in range(3):
        group.assigned(set())
        group.assigned({(topics.LEADS, 0), (topics.LEADS, 1), (topics.ACTIONS, 0)})
    states = {(worker.topic, worker.stopped) for worker in group.workers}
    assert states == {(topics.LEADS, stopped.stopped), (topics.ACTIONS, None)}
