"""A real Apache Kafka on loopback: `start()` for tests, `python -m devtools.kafka` in the foreground.

It uses, in this order: the brokers that FIRSTHOUR_KAFKA_BOOTSTRAP names (nothing is started); Java 17 with jars that Maven
fetches once; the image `apache/kafka`, if a Docker engine answers.
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
# Java compiles less, and sooner: for a broker that runs for minutes beside tests on the same processors.
QUICK = ("-XX:TieredStopAtLevel=1",)
_ATTEMPTS = 3


@dataclass(frozen=True)
class _KafkaPlan:
    """The arguments of `start`, and the launch."""

    directory: Path
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
    """Start a cluster. Started again on the same directory, it has its topics and records.

    Args:
        directory: the directory of the data. None: a new one, which is removed when the cluster stops.
        version: the version of Apache Kafka.
        brokers: the number of brokers.
        ports: the ports to use if they are free.
        settings: lines added to server.properties.
        options: the options of Java (see `QUICK`).
        secure: open a second listener with TLS and a login (`KafkaCluster.secured`).

    Raises:
        MissingError: a program is missing; the message names it.
        StartError: a broker did not start.
        FetchError: the jars could not be fetched.
    """
    bootstrap = os.environ.get(BOOTSTRAP)
    if bootstrap:
        return KafkaCluster(bootstrap, os.environ.get("KAFKA_VERSION") or "of its own")
    runner = launch.find(version)
    throwaway = children.scratch("kafka") if directory is None else None
    home = (directory or throwaway or Path()).resolve()
    plan = _KafkaPlan(home, runner, settings or {}, options, certificates.make(home) if secure else None)
    for left in reversed(range(_ATTEMPTS)):
        cluster = KafkaCluster("", version, throwaway=throwaway)
        try:
            _prepare(cluster, plan, _choose(brokers, ports))
            each(cluster.brokers, Broker.start)
            each(cluster.brokers, lambda broker: broker.meet(brokers))
        except BaseException as failure:
            each(cluster.brokers, Broker.kill)
            if not (left and isinstance(failure, children.StartError) and "already in use" in str(failure)):
                cluster.stop()
                raise
        else:
            return cluster
    raise AssertionError("the last attempt returns or raises")


def ensure(version: str = VERSION) -> None:
    """Prepare `start`: fetch the jars, and install missing programs if allowed. Raises `MissingError`, `FetchError`."""
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
    """Let Java write an archive of the parsed classes of a broker, which halves the time of each later start."""
    if runner.archive is None or runner.archive.exists():
        return
    with machine.alone(runner.archive.with_suffix(".lock")):
        if runner.archive.exists():
            return
        half = runner.archive.with_suffix(".half")
        with start(version=runner.version, options=[f"-XX:ArchiveClassesAtExit={half}"]) as cluster:
            cluster.brokers[0].terminate()
        if half.exists():  # some versions of Java cannot; starts are then slower
            half.rename(runner.archive)


def _choose(brokers: int, preferred: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return for each broker a port for clients, one for controllers, and one for clients that log in."""
    clients = machine.free_ports(brokers, preferred)
    others = [port for port in machine.free_ports(3 * brokers) if port not in clients]
    return list(zip(clients, others[:brokers], others[brokers:], strict=False))


def _prepare(cluster: KafkaCluster, plan: _KafkaPlan, ports: Sequence[tuple[int, int, int]]) -> None:
    """Write the files of each broker, and format its storage the first time."""
    nodes = [properties.Node(n, *three, plan.directory / f"broker-{n}") for n, three in enumerate(ports, start=1)]
    for node in nodes:
        properties.write(node, nodes, {**_secured(node, plan), **plan.settings})
    identity = _identity(plan.directory)
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


def _identity(directory: Path) -> str:
    """Return the id of the cluster: 16 bytes in Kafka's form. It begins with A: Kafka reads a leading dash as an option."""
    file = directory / "cluster.id"
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
    options = parser.parse_args(arguments)
    return foreground.main(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    ensure(options.version)
    if options.ensure:
        return
    data = options.data or machine.kept("kafka") / f"{options.version}-{options.brokers}"
    wanted = range(options.port, options.port + options.brokers)
    with foreground.sole(data), start(data, version=options.version, brokers=options.brokers, ports=wanted) as cluster:
        taken = [port for port in wanted if f":{port}" not in cluster.bootstrap]
        if cluster.ours and taken:
            print(f"Port {', '.join(map(str, taken))} is in use; using another.", file=sys.stderr)
        title = (
            f"Kafka {cluster.version}, {len(cluster.brokers) or 'not our'} broker{'s' * (len(cluster.brokers) != 1)}"
        )
        foreground.hold(title, data, {BOOTSTRAP: cluster.bootstrap})


if __name__ == "__main__":
    sys.exit(main())
