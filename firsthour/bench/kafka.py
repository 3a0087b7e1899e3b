"""Kafka without the product's own code: the clients of the bare loop, and the release of a broker.

The clients have the same settings as in `firsthour.runtime.eventlog.kafka_producer`, so batches and acknowledgements are the
same.
"""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from firsthour.runtime import addresses
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import kafka_admin
from firsthour.runtime.settings import Settings

_HEADERS: Final = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
_PRODUCER: Final[dict[str, Any]] = {
    "acks": "all",
    "enable_idempotence": False,
    "request_timeout_ms": 5_000,
    "linger_ms": 0,
    "max_batch_size": 256 * 1024,
}
_CONSUMER: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "fetch_max_wait_ms": 50,
    "request_timeout_ms": 40_000,
}
_ASK_SECONDS: Final = 5.0

# The newest `metadata.version` of each release: 7 for 3.3, and higher for later ones.
_RELEASES: Final = ((7, "3.3"), (8, "3.4"), (11, "3.5"), (14, "3.6"), (19, "3.7"), (20, "3.8"), (21, "3.9"))
_RELEASES_4: Final = ((25, "4.0"), (27, "4.1"), (29, "4.2"), (30, "4.3"))


async def reader(settings: Settings, topic: str) -> AIOKafkaConsumer:
    """Return a consumer of no group, at the beginning of every partition."""
    consumer = AIOKafkaConsumer(**connection_options.kafka_options(settings), **_CONSUMER)
    await consumer.start()
    consumer.assign([TopicPartition(settings.kafka_prefix + topic, part) for part in range(settings.kafka_partitions)])
    return consumer


async def sender(settings: Settings) -> AIOKafkaProducer:
    """Return a connected producer."""
    producer = AIOKafkaProducer(**connection_options.kafka_options(settings), **_PRODUCER)
    await producer.start()
    return producer


async def send(producer: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[tuple[str, bytes]]) -> None:
    """Send these keys and bodies in batches, one at a time; all are acknowledged when this returns."""
    number = 0
    while number < len(rows):
        batch = producer.create_batch()
        while number < len(rows):
            key, body = rows[number]
            if batch.append(key=key.encode(), value=body, timestamp=None, headers=_HEADERS) is None:
                break
            number += 1
        await (await producer.send_batch(batch, topic, partition=partition))


async def drop_topics(settings: Settings) -> None:
    """Delete the five topics of this prefix."""
    admin = AIOKafkaAdminClient(**connection_options.kafka_options(settings))
    await admin.start()
    try:
        await admin.delete_topics(list(kafka_admin.names(settings)))
    finally:
        await admin.close()


# --- which broker -----------------------------------------------------------------------------------------------------


async def broker(settings: Settings) -> str:
    """Return name and release of the broker. Only the versions that it supports reveal its release."""
    host, port = addresses.brokers(settings.kafka_bootstrap or "")[0]
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            level = await _metadata_version(host, port, connection_options.kafka_options(settings).get("ssl_context"))
    except (OSError, TimeoutError, KafkaError, struct.error, IndexError, asyncio.IncompleteReadError):
        level = None
    if level is None:
        return "a broker of the Kafka protocol that does not say its release"
    releases = [release for newest, release in (*_RELEASES, *_RELEASES_4) if level <= newest]
    return f"Kafka {releases[0] if releases else 'after 4.3'} (metadata.version {level})"


async def _metadata_version(host: str, port: int, tls: Any) -> int | None:
    """Return the newest `metadata.version` of the broker: a tagged field of ApiVersions 3, which the client does not read."""
    read, write = await asyncio.open_connection(host, port, ssl=tls)
    try:
        request = struct.pack(">hhih", 18, 3, 1, 5) + b"bench" + b"\0" + b"\x06bench" + b"\x021" + b"\0"
        write.write(struct.pack(">i", len(request)) + request)
        reply = await read.readexactly(struct.unpack(">i", await read.readexactly(4))[0])
    finally:
        write.close()
    at = 4 + 2  # correlation id, error
    count, at = _varint(reply, at)
    at += (count - 1) * 7 + 4  # the versions of each request, each with its empty tag; the throttle time
    tags, at = _varint(reply, at)
    for _ in range(tags):
        tag, at = _varint(reply, at)
        size, at = _varint(reply, at)
        if tag == 0 and (version := _supported(reply, at)) is not None:
            return version
        at += size
    return None


def _supported(reply: bytes, at: int) -> int | None:
    count, at = _varint(reply, at)
    for _ in range(count - 1):
        length, at = _varint(reply, at)
        name, at = reply[at : at + length - 1], at + length - 1
        newest = struct.unpack_from(">h", reply, at + 2)[0]
        if name == b"metadata.version":
            return int(newest)
        _, at = _varint(reply, at + 4)
    return None


def _varint(reply: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = reply[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
