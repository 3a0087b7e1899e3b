"""The problems of brokers and topics, for `firsthour doctor` and the start of a process."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from firsthour.runtime import addresses
from firsthour.runtime.connectivity import diagnosis, kafka
from firsthour.runtime.connectivity.diagnosis import Diagnosis, UnreachableError
from firsthour.runtime.connectivity.kafka import VARIABLE, WHAT, ClusterMetadata, TopicMetadata, anywhere, at
from firsthour.runtime.eventlog.kafka_admin import (
    DAY_MS,
    LEADERLESS,
    LEADERLESS_REMEDY,
    REPLICATION,
    names,
    topic_config,
)
from firsthour.runtime.settings import PREFIX, Settings

_AT_LEAST: Final = frozenset({"min.insync.replicas", "max.message.bytes"})


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


_LEADERLESS: Final = _Fault(LEADERLESS, LEADERLESS_REMEDY)


def _shape(topic: TopicMetadata, partitions: int, brokers: int) -> list[_Fault]:
    found = []
    there, copies = len(topic.leaders), min(REPLICATION, brokers)
    if there != partitions:
        remedy = f"set {PREFIX}KAFKA_PARTITIONS={there}; adding some would move leads to other partitions"
        found.append(_Fault(f"{there} partitions where the settings say {partitions}", remedy))
    if min(topic.leaders.values()) < 0:
        found.append(_LEADERLESS)
    if topic.replication < copies:
        remedy = f"raise it to {copies} (kafka-reassign-partitions.sh): a lost disk loses leads"
        found.append(_Fault(f"replication {topic.replication} on {brokers} brokers", remedy, stops=False))
    return found


def _configured(config: Mapping[str, str], copies: int) -> list[_Fault]:
    """The faults in the configuration of a topic. Retention is a promise: after it, no topic holds data of an erased
    person."""
    found = []
    for key, wanted in topic_config(copies).items():
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
    return " (kept for ever)" if int(value) < 0 else f" ({int(value) / DAY_MS:.3g} days)"
