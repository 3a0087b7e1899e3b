"""The server.properties of a broker: KRaft, loopback, small, and as durable as in production."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

IN_SYNC_OF_THREE = 2


USERNAME = "firsthour"
PASSWORD = "let-me-in"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Node:
    """A broker, which is also a controller."""

    id: int
    port: int
    controller_port: int
    secured_port: int
    directory: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def secured_address(self) -> str:
        return f"127.0.0.1:{self.secured_port}"

    @property
    def formatted(self) -> bool:
        return (self.directory / "data" / "meta.properties").exists()

    @property
    def file(self) -> Path:
        return self.directory / "server.properties"


def write(node: Node, nodes: Sequence[Node], settings: Mapping[str, str]) -> None:
    """Write the file. `settings` override the others."""
    node.directory.mkdir(parents=True, exist_ok=True)
    lines = {**_roles(node, nodes), **_replication(len(nodes)), **_size(), **settings}
    node.file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))


def _roles(node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.id),
        # The static quorum, which 3.9 and every 4.x support.
        "controller.quorum.voters": ",".join(f"{each.id}@127.0.0.1:{each.controller_port}" for each in nodes),
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(node.directory / "data"),
        "auto.create.topics.enable": "false",
    }


def secure(node: Node, keystore: Path) -> dict[str, str]:
    """Return the settings of a second listener: TLS with key and certificate in `keystore` (PEM), and a login."""
    here = "listener.name.secured"
    logins = {"plain": f'{_LOGIN}.plain.PlainLoginModule required user_{USERNAME}="{PASSWORD}";'}
    logins |= {name.lower(): f"{_LOGIN}.scram.ScramLoginModule required;" for name in SCRAM}
    plain = _roles(node, [])
    return {
        "listeners": f"{plain['listeners']},SECURED://{node.secured_address}",
        "advertised.listeners": f"{plain['advertised.listeners']},SECURED://{node.secured_address}",
        "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},SECURED:SASL_SSL",
        f"{here}.ssl.keystore.type": "PEM",
        f"{here}.ssl.keystore.location": str(keystore),
        f"{here}.sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
        **{f"{here}.{name}.sasl.jaas.config": login for name, login in logins.items()},
    }


def _replication(brokers: int) -> dict[str, str]:
    copies = str(min(3, brokers))
    in_sync = str(min(IN_SYNC_OF_THREE, brokers - 1) or 1)
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "6",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
    }


def _size() -> dict[str, str]:
    return {
        "group.initial.rebalance.delay.ms": "0",  # no other consumer is about to join
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # the default uses a third of the heap
        "log.index.size.max.bytes": str(1024 * 1024),
    }
