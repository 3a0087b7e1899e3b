"""A real Apache Kafka on loopback: `start()` for tests, `python -m devtools.kafka` in the foreground.

Taken is, in this order: the brokers that FIRSTHOUR_KAFKA_BOOTSTRAP names (nothing is started), Java 17 with jars that
Maven fetches once, the image `apache/kafka` when a Docker engine answers.
"""

import argparse
import base64
import os
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import certificates, children, foreground, launch, machine, properties
from devtools.cluster import Broker, KafkaCluster, Secured, each

__all__ = ["BOOTSTRAP", "QUICK", "VERSION", "Broker", "KafkaCluster", "Secured", "ensure", "start"]

VERSION = "4.3.0"
BOOTSTRAP = "FIRSTHOUR_KAFKA_BOOTSTRAP"
FIRST_PORT = 9092
# Less compiled code, sooner: for a broker that lives for minutes beside tests that want the same processors.
QUICK = ("-XX:TieredStopAtLevel=1",)
_ATTEMPTS = 3


@dataclass(frozen=True)
class _KafkaPlan:
    """What was asked for."""

    place: Path
    runner: launch.Launch
    settings: Mapping[str, str]
    options: Sequence[str]
    certificate: certificates.Certificate | None


def start(
    directory: Path | None = None,
    *,
    version: str = VERSION,
    brokers: int = 1,
    ports: Sequence[int] = (),
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    secure: bool = False,
) -> KafkaCluster:
    """Bring up a cluster whose data live in `directory`, or in a directory of its own that goes when it stops.

    `ports` are taken where they are free; `settings` are added to server.properties; `options` are Java's (see `QUICK`);
    `secure` opens a second door that asks for a login over TLS (`KafkaCluster.secured`). Started again on the same directory,
    it has its topics and records back. Raises `MissingError` (what to install), `StartError`, `FetchError`.
    """
    given = os.environ.get(BOOTSTRAP)
    if given:
        return KafkaCluster(given, os.environ.get("KAFKA_VERSION") or "of its own")
    runner = launch.find(version)
    throwaway = children.scratch("kafka") if directory is None else None
    place = (directory or throwaway or Path()).resolve()
    plan = _KafkaPlan(place, runner, settings or {}, options, certificates.make(place) if secure else None)
    for left in reversed(range(_ATTEMPTS)):
        cluster = KafkaCluster("", version, throwaway=throwaway)
        try:
            _prepare(cluster, plan, _choose(brokers, ports))
            each(cluster.brokers, Broker.start)
            each(cluster.brokers, lambda broker: broker.meet(brokers))
        except BaseException as failed:
            each(cluster.brokers, Broker.kill)
            if not (left and isinstance(failed, children.StartError) and "already in use" in str(failed)):
                cluster.stop()
                raise
        else:
            return cluster
    raise AssertionError("the last attempt returns or raises")


def ensure(version: str = VERSION) -> None:
    """See to it that `start` can: fetch what it needs, install it where we may. Raises `MissingError`, `FetchError`."""
    if os.environ.get(BOOTSTRAP):
        return
    try:
        launch.find(version)
    except machine.MissingError:
        if not machine.may_install():
            raise
        wanted = {"default-jre-headless": launch.java() is None, "maven": shutil.which("mvn") is None}
        machine.install([package for package, lacks in wanted.items() if lacks])
    _archive(launch.find(version))


def _archive(runner: launch.Launch) -> None:
    """Have Java keep the classes of a broker as it has parsed them: once written, every start takes half as long."""
    if runner.archive is None or runner.archive.exists():
        return
    with machine.alone(runner.archive.with_suffix(".lock")):
        if runner.archive.exists():
            return
        half = runner.archive.with_suffix(".half")
        with start(version=runner.version, options=[f"-XX:ArchiveClassesAtExit={half}"]) as cluster:
            cluster.brokers[0].terminate()
        if half.exists():  # Java may not know how: then everything works, only slower
            half.rename(runner.archive)


def _choose(brokers: int, preferred: Sequence[int]) -> list[tuple[int, int, int]]:
    """A port for clients, one for controllers and one for clients that log in, per broker."""
    clients = machine.free_ports(brokers, preferred)
    others = [port for port in machine.free_ports(3 * brokers) if port not in clients]
    return list(zip(clients, others[:brokers], others[brokers:], strict=False))


def _prepare(cluster: KafkaCluster, plan: _KafkaPlan, ports: Sequence[tuple[int, int, int]]) -> None:
    """Everything but running: files written, storage formatted (once)."""
    nodes = [properties.Node(n, *three, plan.place / f"broker-{n}") for n, three in enumerate(ports, start=1)]
    for node in nodes:
        properties.write(node, nodes, {**_secured(node, plan), **plan.settings})
    identity = _identity(plan.place)
    each([node for node in nodes if not node.formatted], lambda node: _format(node, plan.runner, identity))
    memory = 512 if len(nodes) == 1 else 384  # MiB
    java = [f"-Xms{memory}m", f"-Xmx{memory}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", *plan.options]
    for node in nodes:
        cluster.brokers.append(Broker(node, plan.runner.child(node.directory, ["kafka.Kafka", str(node.file)], java)))
    cluster.bootstrap = ",".join(node.address for node in nodes)
    if plan.certificate:
        cluster.secured = Secured(",".join(node.secured_address for node in nodes), plan.certificate.file)


def _secured(node: properties.Node, plan: _KafkaPlan) -> dict[str, str]:
    if plan.certificate is None:
        return {}
    keystore = node.directory / "keystore.pem"
    node.directory.mkdir(parents=True, exist_ok=True)
    keystore.touch(mode=0o600)
    keystore.write_text(plan.certificate.key.read_text() + plan.certificate.file.read_text())
    return properties.secure(node, keystore)


def _format(node: properties.Node, runner: launch.Launch, identity: str) -> None:
    users = [f"{name}=[name={properties.USERNAME},password={properties.PASSWORD}]" for name in properties.SCRAM]
    added = [part for user in users for part in ("--add-scram", user)]
    runner.run(node.directory, "kafka.tools.StorageTool", "format", "-t", identity, "-c", str(node.file), *added)


def _identity(place: Path) -> str:
    """The cluster's id: 16 bytes, as Kafka writes them. Kafka takes one that begins with a dash for an option."""
    file = place / "cluster.id"
    if not file.exists():
        file.write_text("A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])
    return file.read_text()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m devtools.kafka`."""
    parser = argparse.ArgumentParser(prog="python -m devtools.kafka", description=__doc__.splitlines()[0])
    parser.add_argument("--version", default=VERSION, help="of Apache Kafka, e.g. 3.9.1 (default: %(default)s)")
    parser.add_argument("--brokers", type=int, default=1, help="3: replication 3, two in sync (default: %(default)s)")
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="of the first broker (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="where to keep the data (default: outside the tree, see the output)")
    parser.add_argument("--ensure", action="store_true", help="only fetch and install what is missing")
    asked = parser.parse_args(arguments)
    return foreground.main(lambda: _serve(asked))


def _serve(asked: argparse.Namespace) -> None:
    ensure(asked.version)
    if asked.ensure:
        return
    data = asked.data or machine.kept("kafka") / f"{asked.version}-{asked.brokers}"
    wanted = range(asked.port, asked.port + asked.brokers)
    with foreground.sole(data), start(data, version=asked.version, brokers=asked.brokers, ports=wanted) as cluster:
        taken = [port for port in wanted if f":{port}" not in cluster.bootstrap]
        if cluster.ours and taken:
            print(f"Somebody else has port {', '.join(map(str, taken))}; took others.", file=sys.stderr)
        what = f"Kafka {cluster.version}, {len(cluster.brokers) or 'not our'} broker{'s' * (len(cluster.brokers) != 1)}"
        foreground.hold(what, data, {BOOTSTRAP: cluster.bootstrap})


if __name__ == "__main__":
    sys.exit(main())
