"""Partitions in trouble: those that failed or delayed a round, and when each is tried again."""

import asyncio
import random
from collections.abc import Collection, KeysView, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from firsthour.runtime.eventlog.outbox_round import Round
from firsthour.runtime.storage.records import Place

BACKOFF_MAX_SECONDS: Final = 2.0
PLACES_AT_ONCE: Final = 64  # of a round: bounds the memory it takes
_WAIT_SECONDS: Final = 1.0  # without a partition in trouble

_log = structlog.get_logger(__name__)


@dataclass
class PartitionTrouble:
    """Why a partition is tried apart from the others, and when it is tried next (time of the loop)."""

    reason: str
    failures: int = 0
    at: float = 0.0
    cut_off: bool = False  # its last round ended without its answer, because other partitions waited


class TroubledPartitions:
    """The partitions that are tried apart, until the broker takes their rows in good time."""

    def __init__(self, busy: Set[Place]) -> None:
        """`busy`: the partitions that are in a round now."""
        self._busy = busy
        self._troubles: dict[Place, PartitionTrouble] = {}
        self._changed = asyncio.Event()

    def __contains__(self, place: object) -> bool:
        return place in self._troubles

    @property
    def places(self) -> KeysView[Place]:
        """The partitions in trouble."""
        return self._troubles.keys()

    @property
    def summary(self) -> str | None:
        """The first partition in trouble with the reason, and the number of others; None: there is none."""
        if not self._troubles:
            return None
        (topic, partition), first = next(iter(self._troubles.items()))
        others = f" and {len(self._troubles) - 1} other partitions" if len(self._troubles) > 1 else ""
        return f"{topic}/{partition}{others}: {first.reason}"

    def wake(self) -> None:
        """Look again for due partitions: some are no longer busy."""
        self._changed.set()

    async def due(self) -> set[Place]:
        """Wait for partitions that are due. Those that were cut off are tried first, and by themselves."""
        now = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            idle = {place: trouble for place, trouble in self._troubles.items() if place not in self._busy}
            due = [place for place, trouble in idle.items() if trouble.at <= now()]
            if due:
                cut_off = [place for place in due if idle[place].cut_off]
                return set((cut_off or due)[:PLACES_AT_ONCE])
            seconds = min((trouble.at for trouble in idle.values()), default=now() + _WAIT_SECONDS) - now()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()

    def note_failures(self, outcome: Round) -> None:
        """Note the partitions that failed in a round, and when each is tried again."""
        now = asyncio.get_running_loop().time()
        new = outcome.failed.keys() - self._troubles.keys()
        for place, reason in outcome.failed.items():
            trouble = self._troubles.setdefault(place, PartitionTrouble(reason))
            trouble.reason, trouble.failures = reason, trouble.failures + 1
            trouble.cut_off = place in outcome.cut_off
            trouble.at = now + (0.0 if trouble.cut_off else backoff_seconds(trouble.failures))
        if new:
            topic, partition = min(new)
            problem = outcome.failed[topic, partition]
            _log.warning("publishing delayed", topic=topic, partition=partition, count=len(new), problem=problem)
            self._changed.set()

    def note_retry(self, places: Collection[Place], outcome: Round) -> list[Place]:
        """Note the outcome of a round of these partitions. Return those that are no longer in trouble."""
        self.note_failures(outcome)
        retry_at = asyncio.get_running_loop().time() + backoff_seconds(1)
        recovered: list[Place] = []
        for place in set(places) - outcome.failed.keys():
            if place in outcome.slow or place not in outcome.ours:
                self._troubles[place].at, self._troubles[place].cut_off = retry_at, False
            else:
                del self._troubles[place]
                recovered.append(place)
        if not self._troubles:
            _log.info("publishing resumed")
        return recovered


def backoff_seconds(failures: int) -> float:
    """Return the seconds until the next try after so many failures in a row."""
    return min(BACKOFF_MAX_SECONDS, 0.05 * 2.0 ** min(failures, 8)) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
