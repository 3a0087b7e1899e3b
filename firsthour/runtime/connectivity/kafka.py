"""Single connections to brokers of Kafka, and requests about topics.

The clients of aiokafka are not used here: they retry in the background for minutes, log each attempt, and always report
"unable to bootstrap". Here a failure is reported at once, as a `Diagnosis`.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from firsthour.runtime import addresses
from firsthour.runtime.connectivity import connection_options, diagnosis
from firsthour.runtime.connectivity.diagnosis import Diagnosis, Kind, UnreachableError
from firsthour.runtime.settings import PREFIX, Settings
from schemas.errors import FirstHourError

SERVER: Final = "kafka"
VARIABLE: Final = f"{PREFIX}KAFKA_BOOTSTRAP"
PROTOCOL: Final = f"{PREFIX}KAFKA_SECURITY_PROTOCOL"
_TOPIC, _NEWEST = 2, -1  # Kafka's numbers: the resource type of topics; the offset after the last record
_CLOSE_SECONDS: Final = 1.0
_GIVE_UP_SECONDS: Final = 0.1

_AUTH: Final = (errors.AuthenticationFailedError, errors.SaslAuthenticationFailed)
_FORBIDDEN: Final = (
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
)
_MOVED: Final = (
    errors.NotLeaderForPartitionError,
    errors.LeaderNotAvailableError,
    errors.ReplicaNotAvailableError,
    errors.UnknownTopicOrPartitionError,  # the broker has not yet learned of the topic
)

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its failures are reported here, once


@dataclass(frozen=True)
class TopicMetadata:
    """A topic. `leaders`: the leader of each partition (-1: none). `replication`: the smallest number of copies of a partition."""

    leaders: Mapping[int, int]
    replication: int


@dataclass(frozen=True)
class ClusterMetadata:
    """The cluster as one broker describes it, with topics by their full names. `forbidden`: topics that we may not describe."""

    brokers: Mapping[int, tuple[str, int]]
    controller: int
    topics: Mapping[str, TopicMetadata]
    forbidden: tuple[str, ...]


class KafkaConnection:
    """One authenticated connection. Every request raises `UnreachableError`."""

    def __init__(self, connection: Any, place: str, settings: Settings) -> None:
        self._connection = connection
        self._place = place
        self._settings = settings

    async def cluster(self, names: Sequence[str]) -> ClusterMetadata:
        """Return the cluster with these topics, as this broker describes it. No topic is created."""
        answer = await self._ask(MetadataRequest(list(names), allow_auto_topic_creation=False))
        return ClusterMetadata(
            brokers={broker["node_id"]: (broker["host"], broker["port"]) for broker in answer["brokers"]},
            controller=answer["controller_id"],
            topics={entry["topic"]: _topic(entry) for entry in answer["topics"] if entry["partitions"]},
            forbidden=tuple(
                entry["topic"] for entry in answer["topics"] if errors.for_code(entry["error_code"]) in _FORBIDDEN
            ),
        )

    async def create(self, names: Iterable[str], partitions: int, copies: int, config: Mapping[str, str]) -> list[str]:
        """Create topics at the controller. Return the names of the new ones. Raises `MovedError` at another broker."""
        specifications: list[Any] = [(name, partitions, copies, [], list(config.items())) for name in names]
        answer = await self._ask(
            CreateTopicsRequest(specifications, int(diagnosis.SECONDS * 1000), validate_only=False)
        )
        results = {entry["topic"]: (errors.for_code(entry["error_code"]), entry) for entry in answer["topic_errors"]}
        for name, (error, entry) in results.items():
            if error is errors.NotControllerError:
                raise MovedError
            if error not in {errors.NoError, errors.TopicAlreadyExistsError}:
                raise UnreachableError(_refusal(name, error, entry.get("error_message")))
        return [name for name, (error, _) in results.items() if error is errors.NoError]

    async def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the configuration of each topic."""
        configs = {}
        for resource in (await self._ask(DescribeConfigsRequest([(_TOPIC, name, None) for name in names])))[
            "resources"
        ]:
            error = errors.for_code(resource["error_code"])
            if error is not errors.NoError:
                raise UnreachableError(_refusal(resource["resource_name"], error, resource["error_message"]))
            values = {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}
            configs[resource["resource_name"]] = values
        return configs

    async def ends(self, parts: Mapping[str, Iterable[int]]) -> dict[tuple[str, int], int]:
        """Return the offset of the next record of each partition. Raises `MovedError` if another broker leads one."""
        requests = [(name, [(part, _NEWEST) for part in numbers]) for name, numbers in parts.items()]
        offsets = {}
        for topic in (await self._ask(OffsetRequest(-1, 0, requests)))["topics"]:
            for part in topic["partitions"]:
                error = errors.for_code(part["error_code"])
                if error in _MOVED:
                    raise MovedError
                if error is not errors.NoError:
                    raise UnreachableError(_refusal(topic["topic"], error, None))
                offsets[topic["topic"], part["partition"]] = part["offset"]
        return offsets

    async def close(self) -> None:
        """Close the connection, and wait a moment for its end."""
        await _closed(self._connection, _CLOSE_SECONDS)

    async def _ask(self, request: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = (await self._connection.send(request)).to_object()
        except (errors.KafkaError, OSError, TimeoutError) as failure:
            raise UnreachableError(_meaning(failure, self._place, self._settings)) from failure
        return answer


class MovedError(FirstHourError):
    """Raised when another broker has become the controller or the leader."""


@asynccontextmanager
async def at(settings: Settings, host: str, port: int) -> AsyncIterator[KafkaConnection]:
    """Connect to this broker. Raises `UnreachableError`."""
    link = await _enter(settings, host, port)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def anywhere(settings: Settings) -> AsyncIterator[KafkaConnection]:
    """Connect to the first broker that accepts a connection. Raises the `UnreachableError` of the first broker if none does."""
    link = await _first(settings)
    try:
        yield link
    finally:
        await link.close()


async def _first(settings: Settings) -> KafkaConnection:
    refused: list[UnreachableError] = []
    for host, port in addresses.brokers(settings.kafka_bootstrap or ""):
        try:
            return await _enter(settings, host, port)
        except UnreachableError as trouble:
            refused.append(trouble)
    raise refused[0]


async def _enter(settings: Settings, host: str, port: int) -> KafkaConnection:
    options = connection_options.kafka_options(settings)
    del options["bootstrap_servers"]
    trouble = await diagnosis.check_port(SERVER, host, port, VARIABLE)
    if trouble is not None:
        raise UnreachableError(trouble)
    place = f"{host}:{port}"
    connection = AIOKafkaConnection(host, port, request_timeout_ms=int(diagnosis.SECONDS * 1000), **options)
    try:
        await connection.connect()
    except (errors.KafkaError, OSError, EOFError, TimeoutError) as failure:
        await _closed(connection, _GIVE_UP_SECONDS)
        raise UnreachableError(_meaning(failure, place, settings)) from failure
    return KafkaConnection(connection, place, settings)


async def _closed(connection: Any, seconds: float) -> None:
    """Close a connection, and wait a moment for its end. After a failed handshake the client never reports the end."""
    end = connection.close()
    if end is not None:
        await asyncio.wait([end], timeout=seconds)


def _topic(entry: Mapping[str, Any]) -> TopicMetadata:
    copies = min(len(part["replicas"]) for part in entry["partitions"])
    return TopicMetadata({part["partition"]: part["leader"] for part in entry["partitions"]}, copies)


def _meaning(failure: BaseException, place: str, settings: Settings) -> Diagnosis:
    """Return the diagnosis of a connection that failed."""
    signs_in, encrypts = settings.kafka_password is not None, settings.kafka_security_protocol.endswith("SSL")
    if isinstance(failure, ssl.SSLCertVerificationError):
        remedy = f"set {PREFIX}KAFKA_CA_FILE to the authority, or use the host name of the certificate"
        return diagnosis.untrusted(SERVER, place, failure, remedy)
    if isinstance(failure, errors.UnsupportedSaslMechanismError):
        problem = f"{place} does not support {settings.kafka_sasl_mechanism}"
        return Diagnosis(SERVER, "auth", problem, f"correct {PREFIX}KAFKA_SASL_MECHANISM")
    if isinstance(failure, _AUTH):
        problem = f"{place} rejects user {settings.kafka_username} or the password"
        return Diagnosis(SERVER, "auth", problem, f"correct {PREFIX}KAFKA_USERNAME and {PREFIX}KAFKA_PASSWORD")
    if isinstance(failure, errors.IllegalSaslStateError):
        return Diagnosis(SERVER, "auth", f"{place} requires no authentication", f"correct {PROTOCOL} or the port")
    if isinstance(failure, errors.UnsupportedVersionError | errors.IncompatibleBrokerVersion | NotImplementedError):
        return Diagnosis(
            SERVER, "old", f"{place} has an incompatible version ({type(failure).__name__})", "use Kafka 3.9 or newer"
        )
    if isinstance(failure, TimeoutError):
        problem = f"{place} accepts the connection and does not answer"
        return Diagnosis(SERVER, "silent", problem, f"check the broker; if it works, correct {PROTOCOL} or the port")
    if encrypts and isinstance(failure, OSError):
        return Diagnosis(
            SERVER, "tls", f"the TLS handshake with {place} failed ({_reason(failure)})", f"correct {PROTOCOL}"
        )
    protocol = "authentication" if encrypts else "TLS" if signs_in else "TLS or authentication"
    problem = f"{place} closes the connection after the first request; it may require {protocol}"
    return Diagnosis(SERVER, "tls", problem, f"correct {PROTOCOL} (now {settings.kafka_security_protocol}) or the port")


def _reason(failure: OSError) -> str:
    return getattr(failure, "reason", None) or failure.strerror or type(failure).__name__


def _refusal(name: str, error: type[Exception], text: str | None) -> Diagnosis:
    """Return the diagnosis of a request about a topic that a broker rejected. `text`: the message; None: there is none."""
    if error in _FORBIDDEN:
        return forbidden([name])
    kind: Kind = "missing" if error is errors.UnknownTopicOrPartitionError else "unfit"
    reason = f"{error.__name__}: {text}" if text else error.__name__
    remedy = "check the log of the brokers; try again if they are just starting"
    if error is errors.InvalidReplicationFactorError:
        remedy = f"start more brokers, or lower {PREFIX}KAFKA_REPLICATION"
    return Diagnosis(SERVER, kind, f"a request for topic {name} was rejected ({reason})", remedy)


def forbidden(names: Sequence[str]) -> Diagnosis:
    """Return the diagnosis of missing rights on topics."""
    remedy = "allow Describe, DescribeConfigs, Create, Read and Write on topics and Read on groups of this prefix"
    return Diagnosis(SERVER, "forbidden", f"no rights on topics {', '.join(names)}", remedy)
