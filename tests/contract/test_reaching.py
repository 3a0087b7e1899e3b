"""The diagnosis of an unusable server, on a real Kafka and a real PostgreSQL that require credentials and TLS."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy.ext.asyncio import create_async_engine

from devtools import kafka as local_kafka
from devtools import launch, machine
from devtools import postgres as local_postgres
from devtools.postgres import PostgresServer
from firsthour.operations.doctor import distributed_checks
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.connectivity import connection_options, diagnosis, kafka
from firsthour.runtime.connectivity import postgres as database_diagnosis
from firsthour.runtime.connectivity.diagnosis import Diagnosis, UnreachableError
from firsthour.runtime.eventlog import kafka_diagnosis
from firsthour.runtime.eventlog.kafka_admin import create_topics, ends
from firsthour.runtime.eventlog.kafka_diagnosis import examine
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import migrate
from schemas import topics
from tests.fakes.certificates import Authority

USER, RIGHT, WRONG = "firsthour", "right-hunter2", "wrong-hunter2"
NOBODY = "postgresql://u@127.0.0.1:1/x"


@pytest.fixture(autouse=True)
def no_settings_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "SECONDS", 20.0)  # the machine that runs tests may be busy with others


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# --- Kafka -----------------------------------------------------------------------------------------------------------

LISTENERS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "SASL": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "BOTH": "SASL_SSL",
    "LOST": "PLAINTEXT",  # advertises an address where no server listens
}
JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecuredBroker:
    """One broker with every kind of listener. `ports`: by listener."""

    ports: dict[str, int]
    authority: Path

    def settings(self, listener: str, *, host: str = "127.0.0.1", **more: Any) -> Settings:
        """Return the settings for this listener, with its credentials; `more` overrides them."""
        protocol = more.pop("protocol", LISTENERS[listener])
        options: dict[str, Any] = {"kafka_security_protocol": protocol, "kafka_partitions": 2}
        if protocol.startswith("SASL"):
            options |= {"kafka_sasl_mechanism": "PLAIN", "kafka_username": USER, "kafka_password": RIGHT}
        if protocol.endswith("SSL"):
            options["kafka_ca_file"] = self.authority
        options |= {"database_url": NOBODY, "kafka_bootstrap": f"{host}:{self.ports[listener]}"}
        return settings.load(**options | more)


def properties(ports: dict[str, int], keystore: Path) -> dict[str, str]:
    scram = f"{JAAS}.scram.ScramLoginModule required;"
    plain = f'{JAAS}.plain.PlainLoginModule required user_{USER}="{RIGHT}" user_stranger="{RIGHT}";'
    advertised = {name: port for name, port in ports.items() if name not in {"CONTROLLER", "GONE"}}
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:{ports[name]}" for name in LISTENERS),
        "advertised.listeners": ",".join(
            f"{name}://127.0.0.1:{ports['GONE'] if name == 'LOST' else port}" for name, port in advertised.items()
        ),
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items()),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.both.sasl.enabled.mechanisms": "PLAIN",
        **{f"listener.name.{name}.plain.sasl.jaas.config": plain for name in ("sasl", "both")},
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER}",
    }


@pytest.fixture(scope="module")
def guarded(kafka_here: str, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    names = [*LISTENERS, "GONE"]
    ports = dict(zip(names, machine.free_ports(len(names)), strict=True))
    place = tmp_path_factory.mktemp("guarded")
    certificate, key = authority.issue("broker", "IP:127.0.0.1")
    keystore = place / "broker.pem"
    keystore.write_text(key.read_text() + certificate.read_text())
    with local_kafka.start(
        place / "data", version=kafka_here, ports=[ports["PLAINTEXT"]], settings=properties(ports, keystore)
    ):
        launch.find(kafka_here).run(
            place,
            *("kafka.admin.ConfigCommand", "--bootstrap-server", f"127.0.0.1:{ports['PLAINTEXT']}", "--alter"),
            *("--add-config", f"SCRAM-SHA-512=[password={RIGHT}]"),
            *("--entity-type", "users", "--entity-name", USER),
        )
        yield SecuredBroker(ports, authority.file)


async def only(troubles: Awaitable[list[Diagnosis]]) -> Diagnosis:
    """Return the only diagnosis; it contains no password."""
    (trouble,) = await troubles
    assert "hunter2" not in repr(trouble)
    return trouble


@pytest.mark.parametrize(
    ("listener", "more"),
    [
        ("PLAINTEXT", {}),
        ("SASL", {}),
        ("SASL", {"kafka_sasl_mechanism": "SCRAM-SHA-512"}),
        ("TLS", {}),
        ("BOTH", {}),
    ],
)
async def test_each_protocol_and_mechanism_of_kafka_works(
    guarded: SecuredBroker, listener: str, more: dict[str, Any]
) -> None:
    prefix = f"{listener}-{more.get('kafka_sasl_mechanism', '')}."
    options = guarded.settings(listener, kafka_prefix=prefix, **more)
    assert (await only(examine(options))).kind == "missing"
    assert sorted(await create_topics(options)) == sorted(prefix + name for name in topics.CREATED)
    assert await examine(options) == []
    producer = AIOKafkaProducer(**connection_options.kafka_options(options), acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(f"{prefix}leads", b"{}", partition=1)
    finally:
        await producer.stop()
    assert await ends(options) == {
        (name, part): int((name, part) == ("leads", 1)) for name in topics.CREATED for part in (0, 1)
    }


async def test_topics_created_concurrently_are_created_once(guarded: SecuredBroker) -> None:
    options = guarded.settings("PLAINTEXT", kafka_prefix="at-once.")
    created = await asyncio.gather(*(create_topics(options) for _ in range(5)))
    assert sorted(name for names in created for name in names) == sorted(f"at-once.{name}" for name in topics.CREATED)
    assert await create_topics(options) == []


async def test_topics_with_wrong_configuration_are_diagnosed_and_left_unchanged(guarded: SecuredBroker) -> None:
    options = guarded.settings("PLAINTEXT", kafka_prefix="otherwise.", kafka_partitions=4)
    config = {"retention.ms": str(3_600_000), "cleanup.policy": "compact", "max.message.bytes": "1000"}
    async with kafka.anywhere(options) as link:
        await link.create(["otherwise.leads"], 3, 1, config)
        await link.create(["otherwise.pages"], 4, 1, {"retention.ms": "-1"})
    assert sorted(await create_topics(options)) == [
        f"otherwise.{name}" for name in ("actions", "events", "inbound", "routes")
    ]
    troubles = {trouble.problem: trouble for trouble in await examine(options)}
    assert set(troubles) == {
        "3 partitions; the settings require 4: otherwise.leads",
        "retention.ms=3600000 (0.0417 days): otherwise.leads",
        "cleanup.policy=compact: otherwise.leads",
        "max.message.bytes=1000: otherwise.leads",
        "retention.ms=-1 (never deleted): otherwise.pages",
    }
    assert troubles["retention.ms=-1 (never deleted): otherwise.pages"].remedy.startswith(
        "set retention.ms=604800000 (7 days)"
    )
    assert "FIRSTHOUR_KAFKA_PARTITIONS=3" in troubles["3 partitions; the settings require 4: otherwise.leads"].remedy


async def test_replication_above_number_of_brokers_is_rejected_with_remedy(guarded: SecuredBroker) -> None:
    with pytest.raises(UnreachableError, match="start more brokers, or lower FIRSTHOUR_KAFKA_REPLICATION"):
        await create_topics(guarded.settings("PLAINTEXT", kafka_prefix="copies.", kafka_replication=3))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
@pytest.mark.parametrize("wrong", [{"kafka_password": WRONG}, {"kafka_username": "nobody"}])
async def test_rejected_kafka_credentials_are_diagnosed_as_auth(
    guarded: SecuredBroker, mechanism: str, wrong: dict[str, str]
) -> None:
    trouble = await only(examine(guarded.settings("SASL", kafka_sasl_mechanism=mechanism, **wrong)))
    assert (trouble.kind, trouble.absent) == ("auth", False)
    assert "FIRSTHOUR_KAFKA_PASSWORD" in trouble.remedy


@pytest.mark.parametrize(
    ("listener", "more", "kind", "remedy"),
    [
        ("BOTH", {"kafka_sasl_mechanism": "SCRAM-SHA-512"}, "auth", "FIRSTHOUR_KAFKA_SASL_MECHANISM"),
        ("PLAINTEXT", {"protocol": "SASL_PLAINTEXT"}, "auth", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("PLAINTEXT", {"protocol": "SSL"}, "tls", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("SASL", {"protocol": "PLAINTEXT"}, "tls", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("TLS", {"protocol": "PLAINTEXT"}, "tls", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("BOTH", {"protocol": "SSL"}, "tls", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("BOTH", {"protocol": "SASL_PLAINTEXT"}, "tls", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("TLS", {"protocol": "SASL_SSL"}, "auth", "FIRSTHOUR_KAFKA_SECURITY_PROTOCOL"),
        ("TLS", {"kafka_ca_file": None}, "certificate", "FIRSTHOUR_KAFKA_CA_FILE"),
        ("TLS", {"host": "localhost"}, "certificate", "the host name of the certificate"),
        ("SASL", {"kafka_username": "stranger"}, "forbidden", "allow Describe"),
        ("LOST", {}, "refused", "advertised.listeners"),
    ],
)
async def test_each_kafka_problem_has_its_kind_and_remedy(
    guarded: SecuredBroker, listener: str, more: dict[str, Any], kind: str, remedy: str
) -> None:
    await create_topics(guarded.settings("PLAINTEXT"))
    trouble = await only(examine(guarded.settings(listener, **more)))
    assert trouble.kind == kind, trouble
    assert remedy in trouble.remedy


async def test_creating_topics_without_rights_fails_as_forbidden(guarded: SecuredBroker) -> None:
    options = guarded.settings("SASL", kafka_username="stranger", kafka_prefix="stranger.")
    with pytest.raises(UnreachableError) as refused:
        await create_topics(options)
    assert refused.value.trouble.kind == "forbidden"


async def test_absent_broker_is_a_warning_while_another_answers(guarded: SecuredBroker) -> None:
    options = guarded.settings("PLAINTEXT", kafka_prefix="two.")
    both = guarded.settings("PLAINTEXT", kafka_prefix="two.", kafka_bootstrap=f"127.0.0.1:1,{options.kafka_bootstrap}")
    await create_topics(both)
    trouble = await only(examine(both))
    assert (trouble.kind, trouble.stops) == ("refused", False)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(postgres_here: None, authority: Authority) -> Iterator[PostgresServer]:
    """A server with TLS, a migrated database `leads`, and a role `secured` with a password and without rights there."""
    with local_postgres.start(durable=False) as server:
        data = Path(server.run("SHOW data_directory"))
        for name, file in zip(("server.crt", "server.key"), authority.issue("database", "IP:127.0.0.1"), strict=True):
            shutil.copyfile(file, data / name)
            (data / name).chmod(0o600)
            shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        for statement in ("ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"):
            server.run(statement)
        server.run(f"CREATE ROLE secured LOGIN PASSWORD '{RIGHT}'")
        server.create("leads")
        asyncio.run(migrated(distributed(server.url("leads"))))
        yield server


def distributed(url: str, **more: Any) -> Settings:
    return settings.load(database_url=url, kafka_bootstrap="127.0.0.1:1", **more)


async def migrated(options: Settings) -> None:
    url, arguments = connection_options.database(options)
    engine = create_async_engine(url, connect_args=arguments)
    async with engine.begin() as connection:
        await connection.run_sync(migrate.migrate)
    await engine.dispose()


def diagnose_database(url: str) -> Awaitable[list[Diagnosis]]:
    return database_diagnosis.examine_database(distributed(url))


def at(
    server: PostgresServer, database: str = "leads", user: str = "firsthour", host: str = "127.0.0.1", query: str = ""
) -> str:
    return f"postgresql://{user}@{host}:{server.port}/{database}{query}"


async def encrypted(url: str) -> bool:
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    return await database_diagnosis.read(distributed(url), lambda c: bool(c.exec_driver_sql(query).scalar()))


@pytest.mark.parametrize(
    ("query", "encrypts"),
    [
        ("", True),
        ("?sslmode=disable", False),
        ("?sslmode=prefer", True),
        ("?sslmode=require", True),
        ("?sslmode=require&sslrootcert={ca}", True),
        ("?sslmode=verify-ca&sslrootcert={ca}", True),
        ("?sslmode=verify-full&sslrootcert={ca}", True),
    ],
)
async def test_each_sslmode_of_postgresql_works(
    secured: PostgresServer, authority: Authority, query: str, encrypts: bool
) -> None:
    url = at(secured, query=query.format(ca=authority.file))
    assert await diagnose_database(url) == []
    assert await encrypted(url) is encrypts


async def test_certificate_name_is_checked_only_with_verify_full(secured: PostgresServer, authority: Authority) -> None:
    query = f"&sslrootcert={authority.file}"
    assert await diagnose_database(at(secured, host="localhost", query=f"?sslmode=verify-ca{query}")) == []
    trouble = await only(diagnose_database(at(secured, host="localhost", query=f"?sslmode=verify-full{query}")))
    assert (trouble.kind, "localhost" in trouble.problem) == ("certificate", True)


@pytest.mark.parametrize(
    ("database", "user", "query", "kind"),
    [
        ("leads", f"secured:{WRONG}", "", "auth"),
        ("leads", "secured", "", "auth"),
        ("leads", "nobody", "", "auth"),
        ("nowhere", "firsthour", "", "missing"),
        ("postgres", "firsthour", "", "migration"),
        ("leads", f"secured:{RIGHT}", "", "forbidden"),
        ("leads", "firsthour", "?sslmode=verify-full", "certificate"),
    ],
)
async def test_each_postgresql_problem_has_its_kind(
    secured: PostgresServer, database: str, user: str, query: str, kind: str
) -> None:
    trouble = await only(diagnose_database(at(secured, database, user, query=query)))
    assert (trouble.kind, trouble.absent) == (kind, False), trouble


async def test_postgresql_without_tls_is_diagnosed_with_remedy(postgres: PostgresServer) -> None:
    trouble = await only(diagnose_database(postgres.url() + "?sslmode=require"))
    assert (trouble.kind, "sslmode=disable" in trouble.remedy) == ("tls", True)


async def test_read_only_postgresql_is_diagnosed(secured: PostgresServer) -> None:
    secured.create("standby")
    secured.run("ALTER DATABASE standby SET default_transaction_read_only = on")
    assert "read-only" in (await only(diagnose_database(at(secured, "standby")))).problem


async def test_database_without_connect_right_is_diagnosed_as_forbidden(secured: PostgresServer) -> None:
    secured.create("closed")
    secured.run("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    assert (await only(diagnose_database(at(secured, "closed", f"secured:{RIGHT}")))).kind == "forbidden"


async def test_old_postgresql_is_diagnosed(secured: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_diagnosis, "OLDEST", 99)
    trouble = await only(diagnose_database(at(secured)))
    assert (trouble.kind, trouble.remedy) == ("old", "use 99 or newer")


# --- no server, or another kind of server ------------------------------------------------------------------------------------

Diagnose = Callable[[str, int], Awaitable[list[Diagnosis]]]


def diagnose_kafka(host: str, port: int) -> Awaitable[list[Diagnosis]]:
    return kafka_diagnosis.examine(settings.load(database_url=NOBODY, kafka_bootstrap=f"{host}:{port}"))


def diagnose_postgresql(host: str, port: int) -> Awaitable[list[Diagnosis]]:
    return diagnose_database(f"postgresql://u@{host}:{port}/x")


either = pytest.mark.parametrize("diagnose", [diagnose_kafka, diagnose_postgresql])


@asynccontextmanager
async def server_on_port(reply: bytes | None) -> AsyncIterator[int]:
    """Run a server that sends `reply` after the first byte of a request; None: it never answers."""

    served: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(done := asyncio.Event())
        await reader.read(1)
        if reply is not None:
            writer.write(reply)
        else:
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for done in served:
            await done.wait()


@either
async def test_unknown_host_name_is_diagnosed(diagnose: Diagnose) -> None:
    trouble = await only(diagnose(f"{'a' * 64}.example", 9092))  # too long for a label: no resolver is asked
    assert (trouble.kind, trouble.absent) == ("dns", True)


@either
async def test_port_without_listener_is_diagnosed(diagnose: Diagnose) -> None:
    trouble = await only(diagnose("127.0.0.1", 1))
    assert (trouble.kind, trouble.problem, trouble.absent) == ("refused", "nothing listens at 127.0.0.1:1", True)


@either
async def test_host_with_full_accept_queue_is_diagnosed_as_silent(
    diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        clients = [socket.socket() for _ in range(4)]
        try:
            for client in clients:  # they fill the queue: the next connection is not answered
                client.setblocking(False)
                client.connect_ex(address)
            trouble = await only(diagnose(*address))
        finally:
            for client in clients:
                client.close()
    assert (trouble.kind, "firewall" in trouble.remedy) == ("silent", True)


@either
async def test_server_that_never_answers_is_diagnosed_as_silent(
    diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "SECONDS", 0.3)
    async with server_on_port(None) as port:
        trouble = await only(diagnose("127.0.0.1", port))
    assert (trouble.kind, "does not answer" in trouble.problem) == ("silent", True)


@either
async def test_server_of_another_protocol_is_not_diagnosed_as_absent(diagnose: Diagnose) -> None:
    async with server_on_port(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        trouble = await only(diagnose("127.0.0.1", port))
    assert not trouble.absent


# --- doctor ------------------------------------------------------------------------------------------------------------


async def test_doctor_lists_kafka_and_database_with_remedies(
    tmp_path: Path, guarded: SecuredBroker, secured: PostgresServer
) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    more: dict[str, Any] = {"config_dir": tmp_path / "config", "data_dir": tmp_path / "data"}
    well = guarded.settings("PLAINTEXT", kafka_prefix="doctor.", **more | {"database_url": at(secured)})
    findings = {one.what: one for one in await distributed_checks.examine(well, HostClock(), None)}
    assert findings["kafka"].remedy.startswith("run `firsthour migrate`")
    assert findings["in force"].remedy == "run `firsthour apply`"
    await create_topics(well)
    findings = {one.what: one for one in await distributed_checks.examine(well, HostClock(), None)}
    findings.pop("python")  # of the machine that runs the test
    assert {what for what, one in findings.items() if one.verdict != "ok"} == {"in force"}
    assert findings.keys() >= {"kafka", "database", "tables", "clocks", "dead letters", "spool"}

    away = settings.load(database_url=NOBODY, kafka_bootstrap="127.0.0.1:1", **more)
    wrong = {
        one.what: one.said
        for one in await distributed_checks.examine(away, HostClock(), None)
        if one.verdict == "wrong"
    }
    assert wrong == {"kafka": "nothing listens at 127.0.0.1:1", "database": "nothing listens at 127.0.0.1:1"}
