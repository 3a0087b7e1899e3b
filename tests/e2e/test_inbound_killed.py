"""A gateway in its consumer group reads `inbound`, is killed in the middle, and goes on: each record counts once."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from firsthour.runtime import package_files
from tests.e2e.processes import ADMIN, end, environment, free_port, spawn
from tests.e2e.prove.processes import must
from tests.shared import named

DATABASE = named("inbound_killed")
RECORDS = 4_000
BAD = 40
"""Of these records, so many are no CloudEvents."""
SOURCE = "\n  - {id: shop, kind: kafka, producers: [/shop], types: [custom.*]}\n"
HEADERS = [("content-type", b"application/cloudevents+json")]
pytestmark = [pytest.mark.slow, pytest.mark.kill]


def record(number: int) -> bytes:
    if number % (RECORDS // BAD) == 0:
        return b'{"no": "event"}'
    data = {"email": f"p{number}@acme.example"}
    event = {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "custom.order", "data": data}
    return json.dumps(event).encode()


async def write(bootstrap: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = [await producer.send(topic, record(n), key=str(n).encode(), headers=HEADERS) for n in range(RECORDS)]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def value(url: str, question: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(question) or 0)
    finally:
        await connection.close()


async def reaches(url: str, question: str, number: int) -> int:
    """Wait until this many are there."""
    async with asyncio.timeout(100):
        while (there := await value(url, question)) < number:
            await asyncio.sleep(0.05)
    return there


async def test_gateway_that_is_killed_reads_each_record_once(
    kafka: KafkaCluster, postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.drop(DATABASE)
    url, prefix = postgres.create(DATABASE), f"{DATABASE}."
    shutil.copytree(package_files.examples(), tmp_path / "config")
    with (tmp_path / "config" / "sources.yaml").open("a") as file:
        file.write(SOURCE)
    env = environment(
        database_url=url,
        kafka_bootstrap=kafka.bootstrap,
        kafka_prefix=prefix,
        kafka_partitions="4",
        admin_key=ADMIN,
    )
    must(env, "migrate")
    must(env, "apply", "--config", str(tmp_path / "config"))
    await write(kafka.bootstrap, f"{prefix}inbound")

    def serve() -> "subprocess.Popen[Any]":
        data, port = str(tmp_path / "data"), str(free_port())
        return spawn(tmp_path / "output", "firsthour", "serve", "gateway", "--port", port, "--data", data, env=env)

    accepted = "SELECT sum(number) FROM gateway_sources WHERE source = 'shop' AND outcome = 'accepted'"
    for least in (1, RECORDS - BAD):
        process = serve()
        try:
            there = await reaches(url, accepted, least)
            os.kill(process.pid, signal.SIGKILL)
        finally:
            end(process)
        assert least > 1 or there < RECORDS - BAD, "the gateway was killed in the middle"
    letters = "SELECT count(*) FROM dead_letters WHERE consumer = 'gateway' AND source = 'inbound'"
    distinct = "SELECT count(DISTINCT origin) FROM dead_letters"
    assert await reaches(url, accepted, RECORDS - BAD) == RECORDS - BAD
    assert [await value(url, letters), await value(url, distinct)] == [BAD, BAD]
    postgres.drop(DATABASE)
