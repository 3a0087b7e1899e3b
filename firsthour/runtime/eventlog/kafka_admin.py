"""Kafka's topics: created by `firsthour migrate`, examined by `firsthour doctor`, measured by `firsthour verify`."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from firsthour.runtime import addresses
from firsthour.runtime.connectivity import diagnosis, kafka
from firsthour.runtime.connectivity.diagnosis import Diagnosis, UnreachableError
from firsthour.runtime.connectivity.kafka import (
    VARIABLE,
    WHAT,
    ClusterMetadata,
    MovedError,
    TopicMetadata,
    anywhere,
    at,
)
from firsthour.runtime.settings import PREFIX, Settings
from schemas import topics

RETENTION: Final = timedelta(days=7)
RECORD_BYTES_MAX: Final = 1024 * 1024
REPLICATION: Final = 3
IN_SYNC: Final = 2
SETTLE_SECONDS: Final = 15.0
_LOOK_AGAIN_SECONDS: Final = 0.1
_AT_LEAST: Final = frozenset({"min.insync.replicas", "max.message.bytes"})
_DAY_MS: Final = 24 * 3600 * 1000
_RETENTION_MS: Final = RETENTION.days * _DAY_MS


def names(settings: Settings) -> dict[str, str]:
    """Return the five topics: full name in Kafka to name in our code."""
    return {settings.kafka_prefix + name: name for name in topics.ALL}


# --- creating -----------------------------------------------------------------------------------------------------------


async def create_topics(settings: Settings) -> list[str]:
    """Create the missing topics, and return their full names. Several processes may do so at once.

    An existing topic stays unchanged; `examine` reports its problems.

    Raises:
        UnreachableError: no broker answers, or the new topics have no leaders.
    """
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            made = await _create_missing(settings)
            await _wait_for_leaders(settings)
    except TimeoutError:
        said = f"topics have no leaders after {SETTLE_SECONDS:.0f} s"
        raise UnreachableError(Diagnosis(WHAT, "unfit", said, "look at the brokers' log, then try again")) from None
    return made


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
                    return await link.create(missing, settings.kafka_partitions, copies, _wanted(copies))
            except MovedError:
                pass
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _wanted(copies: int) -> dict[str, str]:
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
            known = (await link.cluster(list(names(settings)))).topics
            if len(known) == len(topics.ALL) and all(min(topic.leaders.values()) >= 0 for topic in known.values()):
                return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


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
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    except TimeoutError:
        raise UnreachableError(_unled(names(settings))) from None


async def _ends(settings: Settings) -> dict[tuple[str, int], int]:
    inside = names(settings)
    async with anywhere(settings) as link:
        cluster = await link.cluster(list(inside))
    led: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, topic in cluster.topics.items():
        for part, leader in topic.leaders.items():
            led[leader][name].append(part)
    found: dict[tuple[str, int], int] = {}
    for leader, parts in led.items():
        if leader not in cluster.brokers:
            raise MovedError
        async with at(settings, *cluster.brokers[leader]) as link:
            found |= {(inside[name], part): end for (name, part), end in (await link.ends(parts)).items()}
    return found


# --- examining ----------------------------------------------------------------------------------------------------------


async def examine(settings: Settings) -> list[Diagnosis]:
    """Return every problem with the brokers and topics; none if all is well. Takes a few seconds at most."""
    places = addresses.brokers(settings.kafka_bootstrap or "")
    looks = await asyncio.gather(*(_look_in(settings, host, port) for host, port in places))
    troubles = [look for look in looks if isinstance(look, Diagnosis)]
    clusters = [look for look in looks if isinstance(look, ClusterMetadata)]
    if not clusters:
        return troubles
    lesser = [replace(trouble, stops=False) for trouble in troubles]  # another broker accepts connections
    return [*lesser, *await _advertised(clusters[0]), *await _topics(settings, clusters[0])]


async def _look_in(settings: Settings, host: str, port: int) -> ClusterMetadata | Diagnosis:
    try:
        async with at(settings, host, port) as link:
            return await link.cluster(list(names(settings)))
    except UnreachableError as refused:
        return refused.trouble


async def _advertised(cluster: ClusterMetadata) -> list[Diagnosis]:
    """The problems with the addresses that brokers advertise to clients; these may differ from those of the settings."""
    troubles = await asyncio.gather(
        *(diagnosis.knock(WHAT, host, port, VARIABLE) for host, port in cluster.brokers.values())
    )
    remedy = "start that broker, or correct advertised.listeners in its settings"
    return [
        replace(trouble, said=f"broker {number} sends clients on, and {trouble.said}", remedy=remedy)
        for number, trouble in zip(cluster.brokers, troubles, strict=True)
        if trouble is not None
    ]


async def _topics(settings: Settings, cluster: ClusterMetadata) -> list[Diagnosis]:
    if cluster.forbidden:
        return [kafka.forbidden(cluster.forbidden)]
    found = _missing([name for name in names(settings) if name not in cluster.topics])
    there = {name: cluster.topics[name] for name in names(settings) if name in cluster.topics}
    faults = {name: _shape(topic, settings.kafka_partitions, len(cluster.brokers)) for name, topic in there.items()}
    try:
        async with anywhere(settings) as link:
            configs = await link.configs(there) if there else {}
    except UnreachableError as refused:
        return [*found, *_diagnoses(faults), refused.trouble]
    for name, config in configs.items():
        faults[name] += _configured(config, there[name].replication)
    return [*found, *_diagnoses(faults)]


@dataclass(frozen=True)
class _Fault:
    """A problem of a topic, often of all five."""

    said: str
    remedy: str
    stops: bool = True


def _diagnoses(faults: Mapping[str, list[_Fault]]) -> list[Diagnosis]:
    """Each fault once, with all topics that have it."""
    having: dict[_Fault, list[str]] = defaultdict(list)
    for name, some in faults.items():
        for fault in some:
            having[fault].append(name)
    return [
        Diagnosis(WHAT, "unfit", f"{fault.said}: {', '.join(those)}", fault.remedy, fault.stops)
        for fault, those in having.items()
    ]


def _missing(absent: list[str]) -> list[Diagnosis]:
    if not absent:
        return []
    said = f"there is no topic {', '.join(absent)}"
    return [Diagnosis(WHAT, "missing", said, f"run `firsthour migrate`, or correct {PREFIX}KAFKA_PREFIX")]


def _unled(those: Iterable[str]) -> Diagnosis:
    return _diagnoses({name: [_UNLED] for name in those})[0]


_UNLED: Final = _Fault(
    "partitions without a leader", "start the brokers that hold their copies; never elect one that lags behind"
)


def _shape(topic: TopicMetadata, partitions: int, brokers: int) -> list[_Fault]:
    found = []
    there, copies = len(topic.leaders), min(REPLICATION, brokers)
    if there != partitions:
        remedy = f"set {PREFIX}KAFKA_PARTITIONS={there}; adding some would move leads to other partitions"
        found.append(_Fault(f"{there} partitions where the settings say {partitions}", remedy))
    if min(topic.leaders.values()) < 0:
        found.append(_UNLED)
    if topic.replication < copies:
        remedy = f"raise it to {copies} (kafka-reassign-partitions.sh): a lost disk loses leads"
        found.append(_Fault(f"replication {topic.replication} on {brokers} brokers", remedy, stops=False))
    return found


def _configured(config: Mapping[str, str], copies: int) -> list[_Fault]:
    """The faults in the configuration of a topic. Retention is a promise: after it, no topic holds data of an erased
    person."""
    found = []
    for key, wanted in _wanted(copies).items():
        have = config.get(key, wanted)
        well = int(have) >= int(wanted) if key in _AT_LEAST else have == wanted
        if not well:
            remedy = f"set {key}={wanted}{_days(key, wanted)} with kafka-configs.sh --alter"
            stops = key in {"retention.ms", "cleanup.policy"}
            found.append(_Fault(f"{key}={have}{_days(key, have)}", remedy, stops))
    return found


def _days(key: str, value: str) -> str:
    if key != "retention.ms":
        return ""
    return " (kept for ever)" if int(value) < 0 else f" ({int(value) / _DAY_MS:.3g} days)"
