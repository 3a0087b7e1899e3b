"""The problems of brokers and topics, for `firsthour doctor` and the start of a process."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from firsthour.runtime import addresses
from firsthour.runtime.connectivity import diagnosis, kafka
from firsthour.runtime.connectivity.diagnosis import Diagnosis, UnreachableError
from firsthour.runtime.connectivity.kafka import SERVER, VARIABLE, ClusterMetadata, TopicMetadata, anywhere, at
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
    answers = await asyncio.gather(*(_ask_broker(settings, host, port) for host, port in places))
    troubles = [answer for answer in answers if isinstance(answer, Diagnosis)]
    clusters = [answer for answer in answers if isinstance(answer, ClusterMetadata)]
    if not clusters:
        return troubles
    lesser = [replace(trouble, stops=False) for trouble in troubles]  # another broker accepts connections
    return [*lesser, *await _advertised(clusters[0]), *await _topics(settings, clusters[0])]


async def _ask_broker(settings: Settings, host: str, port: int) -> ClusterMetadata | Diagnosis:
    try:
        async with at(settings, host, port) as link:
            return await link.cluster(list(names(settings)))
    except UnreachableError as failure:
        return failure.trouble


async def _advertised(cluster: ClusterMetadata) -> list[Diagnosis]:
    """Return the problems with the addresses that brokers advertise, which may differ from those of the settings."""
    troubles = await asyncio.gather(
        *(diagnosis.check_port(SERVER, host, port, VARIABLE) for host, port in cluster.brokers.values())
    )
    remedy = "start that broker, or correct advertised.listeners in its settings"
    return [
        replace(trouble, problem=f"at the advertised address of broker {number}, {trouble.problem}", remedy=remedy)
        for number, trouble in zip(cluster.brokers, troubles, strict=True)
        if trouble is not None
    ]


async def _topics(settings: Settings, cluster: ClusterMetadata) -> list[Diagnosis]:
    if cluster.forbidden:
        return [kafka.forbidden(cluster.forbidden)]
    missing = _missing([name for name in names(settings) if name not in cluster.topics])
    existing = {name: cluster.topics[name] for name in names(settings) if name in cluster.topics}
    faults = {name: _shape(topic, settings.kafka_partitions, len(cluster.brokers)) for name, topic in existing.items()}
    try:
        async with anywhere(settings) as link:
            configs = await link.configs(existing) if existing else {}
    except UnreachableError as failure:
        return [*missing, *_diagnoses(faults), failure.trouble]
    for name, config in configs.items():
        faults[name] += _configured(config, existing[name].replication)
    return [*missing, *_diagnoses(faults)]


@dataclass(frozen=True)
class _TopicFault:
    """A problem of a topic, often of all of them."""

    problem: str
    remedy: str
    stops: bool = True


def _diagnoses(faults: Mapping[str, list[_TopicFault]]) -> list[Diagnosis]:
    """Return each fault once, with all topics that have it."""
    topics: dict[_TopicFault, list[str]] = defaultdict(list)
    for name, faults_of_topic in faults.items():
        for fault in faults_of_topic:
            topics[fault].append(name)
    return [
        Diagnosis(SERVER, "unfit", f"{fault.problem}: {', '.join(affected)}", fault.remedy, fault.stops)
        for fault, affected in topics.items()
    ]


def _missing(absent: list[str]) -> list[Diagnosis]:
    if not absent:
        return []
    problem = f"there is no topic {', '.join(absent)}"
    return [Diagnosis(SERVER, "missing", problem, f"run `firsthour migrate`, or correct {PREFIX}KAFKA_PREFIX")]


_LEADERLESS: Final = _TopicFault(LEADERLESS, LEADERLESS_REMEDY)


def _shape(topic: TopicMetadata, partitions: int, brokers: int) -> list[_TopicFault]:
    faults = []
    count, copies = len(topic.leaders), min(REPLICATION, brokers)
    if count != partitions:
        remedy = f"set {PREFIX}KAFKA_PARTITIONS={count}; more partitions would move leads to others"
        faults.append(_TopicFault(f"{count} partitions; the settings require {partitions}", remedy))
    if min(topic.leaders.values()) < 0:
        faults.append(_LEADERLESS)
    if topic.replication < copies:
        remedy = f"raise it to {copies} (kafka-reassign-partitions.sh), otherwise a lost disk loses leads"
        faults.append(_TopicFault(f"replication {topic.replication} on {brokers} brokers", remedy, stops=False))
    return faults


def _configured(config: Mapping[str, str], copies: int) -> list[_TopicFault]:
    """Return the faults in the configuration of a topic. Longer retention is one: topics would keep data of an erased
    person."""
    faults = []
    for key, required in topic_config(copies).items():
        value = config.get(key, required)
        is_right = int(value) >= int(required) if key in _AT_LEAST else value == required
        if not is_right:
            remedy = f"set {key}={required}{_days(key, required)} with kafka-configs.sh --alter"
            stops = key in {"retention.ms", "cleanup.policy"}
            faults.append(_TopicFault(f"{key}={value}{_days(key, value)}", remedy, stops))
    return faults


def _days(key: str, value: str) -> str:
    if key != "retention.ms":
        return ""
    return " (never deleted)" if int(value) < 0 else f" ({int(value) / DAY_MS:.3g} days)"
