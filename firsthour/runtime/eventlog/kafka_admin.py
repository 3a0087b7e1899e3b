"""Kafka's topics: created by `firsthour migrate`, measured by `firsthour verify`."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Final

from firsthour.runtime.connectivity import kafka
from firsthour.runtime.connectivity.diagnosis import Diagnosis, UnreachableError
from firsthour.runtime.connectivity.kafka import (
    SERVER,
    MovedError,
    anywhere,
    at,
)
from firsthour.runtime.settings import Settings
from schemas import topics

RETENTION: Final = timedelta(days=7)
RECORD_BYTES_MAX: Final = 1024 * 1024
REPLICATION: Final = 3
IN_SYNC: Final = 2
SETTLE_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 0.1
DAY_MS: Final = 24 * 3600 * 1000
LEADERLESS: Final = "partitions without a leader"
LEADERLESS_REMEDY: Final = "start the brokers that hold their copies; never elect one that lags behind"
_RETENTION_MS: Final = RETENTION.days * DAY_MS


def names(settings: Settings) -> dict[str, str]:
    """Return every topic: full name in Kafka to name in our code."""
    return {settings.kafka_prefix + name: name for name in topics.CREATED}


# --- creating -----------------------------------------------------------------------------------------------------------


async def create_topics(settings: Settings) -> list[str]:
    """Create the missing topics, and return their full names. Several processes may do so at once.

    An existing topic stays unchanged; `kafka_diagnosis.examine` reports its problems.

    Raises:
        UnreachableError: no broker answers, or the new topics have no leaders.
    """
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            created = await _create_missing(settings)
            await _wait_for_leaders(settings)
    except TimeoutError:
        problem = f"topics have no leaders after {SETTLE_SECONDS:.0f} s"
        raise UnreachableError(
            Diagnosis(SERVER, "unfit", problem, "check the log of the brokers, then try again")
        ) from None
    return created


async def _create_missing(settings: Settings) -> list[str]:
    while True:
        async with anywhere(settings) as link:
            cluster = await link.cluster(list(names(settings)))
        if cluster.forbidden:
            raise UnreachableError(kafka.forbidden(cluster.forbidden))
        missing = [name for name in names(settings) if name not in cluster.topics]
        if not missing:
            return []
        copies = settings.kafka_replication or min(REPLICATION, len(cluster.brokers))
        if cluster.controller in cluster.brokers:
            try:
                async with at(settings, *cluster.brokers[cluster.controller]) as link:
                    return await link.create(missing, settings.kafka_partitions, copies, topic_config(copies))
            except MovedError:
                pass
        await asyncio.sleep(_RETRY_SECONDS)


def topic_config(copies: int) -> dict[str, str]:
    """Return the configuration of each topic. `copies`: of each partition."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(_RETENTION_MS),
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "unclean.leader.election.enable": "false",
        **({"min.insync.replicas": str(IN_SYNC)} if copies >= REPLICATION else {}),
    }


async def _wait_for_leaders(settings: Settings) -> None:
    """Wait until every partition has a leader, so that the new topics can be used at once."""
    async with anywhere(settings) as link:
        while True:
            created = (await link.cluster(list(names(settings)))).topics
            if len(created) == len(topics.CREATED) and all(
                min(topic.leaders.values()) >= 0 for topic in created.values()
            ):
                return
            await asyncio.sleep(_RETRY_SECONDS)


# --- measuring --------------------------------------------------------------------------------------------------------


async def ends(settings: Settings) -> dict[tuple[str, int], int]:
    """Return the offset of the next record of each partition, with the topic as named in our code.

    Raises:
        UnreachableError: no broker answers, or a partition has no leader.
    """
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                try:
                    return await _ends(settings)
                except MovedError:
                    await asyncio.sleep(_RETRY_SECONDS)
    except TimeoutError:
        problem = f"{LEADERLESS}: {', '.join(names(settings))}"
        raise UnreachableError(Diagnosis(SERVER, "unfit", problem, LEADERLESS_REMEDY)) from None


async def _ends(settings: Settings) -> dict[tuple[str, int], int]:
    short_names = names(settings)
    async with anywhere(settings) as link:
        cluster = await link.cluster(list(short_names))
    partitions: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, topic in cluster.topics.items():
        for part, leader in topic.leaders.items():
            partitions[leader][name].append(part)
    offsets: dict[tuple[str, int], int] = {}
    for leader, parts in partitions.items():
        if leader not in cluster.brokers:
            raise MovedError
        async with at(settings, *cluster.brokers[leader]) as link:
            offsets |= {(short_names[name], part): end for (name, part), end in (await link.ends(parts)).items()}
    return offsets
