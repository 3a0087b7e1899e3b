"""The local Kafka and PostgreSQL start, keep their data over a kill and a restart, and end with the test process."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from devtools import children, machine
from devtools import kafka as local_kafka
from devtools import postgres as local_postgres
from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests.e2e.processes import ROOT, environment, spawn, until

START_SECONDS = 60.0
GONE_SECONDS = 15.0
START_BOTH = """
import sys
from devtools import kafka, postgres
cluster, server = kafka.start(version=sys.argv[1]), postgres.start(durable=False)
print(cluster.brokers[0].node.port, server.port, cluster.throwaway, server.throwaway, flush=True)
sys.stdin.read()
"""


async def create(bootstrap: str, topic: str, copies: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=copies)])
    finally:
        await admin.close()


async def append(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def first(bootstrap: str, topic: str) -> bytes:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        record = await consumer.getone()
        assert record.value is not None
        return bytes(record.value)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the user of PostgreSQL may enter, unlike `tmp_path`."""
    scratch = children.scratch("test")
    yield scratch
    children.discard(scratch)


# --- Kafka ----------------------------------------------------------------------------------------------------------


async def test_killed_broker_restarts_with_its_records(kafka_here: str) -> None:
    sooner = {"broker.session.timeout.ms": "4000"}  # a killed broker can join again only after its session has ended
    with local_kafka.start(version=kafka_here, options=local_kafka.QUICK, settings=sooner) as cluster:
        broker = cluster.brokers[0]
        await create(cluster.bootstrap, "topic")
        await append(cluster.bootstrap, "topic", b"before")
        broker.kill()
        assert not machine.answers(broker.node.port)
        broker.start()
        assert await first(cluster.bootstrap, "topic") == b"before"


@pytest.mark.long
async def test_restarted_cluster_has_its_records(kafka_here: str, directory: Path) -> None:
    with local_kafka.start(directory, version=kafka_here, options=local_kafka.QUICK) as cluster:
        await create(cluster.bootstrap, "topic")
        await append(cluster.bootstrap, "topic", b"before")
    assert not machine.answers(cluster.brokers[0].node.port)
    with local_kafka.start(directory, version=kafka_here, options=local_kafka.QUICK) as again:
        assert await first(again.bootstrap, "topic") == b"before"


@pytest.mark.long
async def test_cluster_of_three_works_without_one_broker(kafka_here: str) -> None:
    with local_kafka.start(version=kafka_here, brokers=3, options=local_kafka.QUICK) as cluster:
        await create(cluster.bootstrap, "copied", copies=3)
        cluster.brokers[0].terminate()
        rest = ",".join(broker.bootstrap for broker in cluster.brokers[1:])
        await append(rest, "copied", b"still taken")
        assert await first(rest, "copied") == b"still taken"


async def test_shared_broker_accepts_records(kafka: KafkaCluster) -> None:
    await create(kafka.bootstrap, "local-backends")
    await append(kafka.bootstrap, "local-backends", b"taken")
    assert await first(kafka.bootstrap, "local-backends") == b"taken"


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_server_after_a_power_failure_has_its_commits(postgres_here: None) -> None:
    with local_postgres.start() as server:
        server.create("shop")
        server.run("CREATE TABLE orders AS SELECT 7 AS id", "shop")
        server.restart("immediate")
        assert server.run("SELECT id FROM orders", "shop") == "7"
    assert not machine.answers(server.port)


def test_restarted_server_has_its_databases(postgres_here: None, directory: Path) -> None:
    with local_postgres.start(directory) as server:
        server.create("shop")
    with local_postgres.start(directory) as again:
        assert again.run("SELECT 1", "shop") == "1"


def test_databases_are_copied_and_dropped(postgres: PostgresServer) -> None:
    postgres.create("local_backends")
    postgres.run("CREATE TABLE t AS SELECT 7 AS id", "local_backends")
    postgres.create("local_backends_copy", template="local_backends")
    assert postgres.run("SELECT id FROM t", "local_backends_copy") == "7"
    for name in ("local_backends", "local_backends_copy"):
        postgres.drop(name)
    assert postgres.run("SELECT count(*) FROM pg_database WHERE datname LIKE 'local_backends%'") == "0"


def test_role_secured_needs_its_password(postgres: PostgresServer) -> None:
    postgres.run("CREATE ROLE secured LOGIN PASSWORD 'right'")
    try:
        for password, refused in (("right", False), ("wrong", True)):
            secured = PostgresServer(postgres.url().replace("firsthour@", f"secured:{password}@"), tools=postgres.tools)
            try:
                assert secured.run("SELECT 1") == "1"
            except local_postgres.QueryError as failed:
                assert refused, failed
                assert "password authentication failed" in str(failed)
            else:
                assert not refused
    finally:
        postgres.run("DROP ROLE secured")


# --- the end of the servers -----------------------------------------------------------------------------------------


def test_servers_of_a_killed_process_end(kafka_here: str, postgres_here: None) -> None:
    command = [sys.executable, "-c", START_BOTH, kafka_here]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
    ) as process:
        assert process.stdout is not None
        broker, server, *directories = process.stdout.readline().split()
        assert machine.answers(int(broker))
        assert machine.answers(int(server))
        process.kill()
    until(lambda: not machine.answers(int(broker)), GONE_SECONDS, "the broker is gone")
    until(lambda: not machine.answers(int(server)), GONE_SECONDS, "the server is gone")
    until(lambda: not any(Path(each).exists() for each in directories), GONE_SECONDS, "their data are gone")


@pytest.mark.parametrize("name", ["kafka", "postgres"])
def test_command_prints_variables_and_ends_on_ctrl_c(
    name: str, kafka_here: str, postgres_here: None, directory: Path
) -> None:
    port, output = machine.free_ports(1)[0], directory / "output"
    version = ["--version", kafka_here] if name == "kafka" else []
    command = [f"devtools.{name}", "--port", str(port), "--data", str(directory / "data"), *version]
    process = spawn(output, *command)
    try:
        until(lambda: "Ctrl-C stops it" in output.read_text() or process.poll() is not None, START_SECONDS, "it is up")
        assert f"127.0.0.1:{port}" in output.read_text()
        second = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (second.returncode, "another server uses it" in second.stderr) == (1, True)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(START_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert not machine.answers(port)


# --- secured listeners ----------------------------------------------------------------------------------------------


async def test_secured_listener_accepts_a_login_over_tls(kafka_here: str) -> None:
    with local_kafka.start(version=kafka_here, options=local_kafka.QUICK, secure=True) as cluster:
        await create(cluster.bootstrap, "topic")
        door = cluster.secured
        assert door is not None
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            async with AIOKafkaProducer(
                bootstrap_servers=door.bootstrap,
                security_protocol="SASL_SSL",
                sasl_mechanism=mechanism,
                sasl_plain_username=door.username,
                sasl_plain_password=door.password,
                ssl_context=ssl.create_default_context(cafile=str(door.ca_file)),
            ) as producer:
                await producer.send_and_wait("topic", mechanism.encode())


def test_server_with_a_certificate_presents_it(postgres_here: None) -> None:
    try:
        started = local_postgres.start(durable=False, secure=True)
    except children.StartError as failed:
        if "SSL is not supported by this build" in str(failed):
            pytest.skip("the PostgreSQL of the wheel knows no TLS; apt-get install postgresql for one that does")
        raise
    with started as server:
        query = f"sslmode=verify-full&sslrootcert={server.ca_file}"
        locked = PostgresServer(f"{server.url()}?{query}", tools=server.tools)
        assert locked.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"
