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

WHAT: Final = "kafka"
VARIABLE: Final = f"{PREFIX}KAFKA_BOOTSTRAP"
PROTOCOL: Final = f"{PREFIX}KAFKA_SECURITY_PROTOCOL"
_TOPIC, _NEWEST = 2, -1  # Kafka's numbers: a resource that is a topic; the offset after the last record
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
    errors.UnknownTopicOrPartitionError,  # the broker does not know of the topic yet
)

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # we report its failures ourselves, once


@dataclass(frozen=True)
class TopicMetadata:
    """A topic. `leaders`: of each partition (-1: none). `replication`: the smallest number of copies of a partition."""

    leaders: Mapping[int, int]
    replication: int


@dataclass(frozen=True)
class ClusterMetadata:
    """The cluster as known to a broker, with topics by their full names. `forbidden`: topics that we may not describe."""

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
        """Return the cluster with these topics, as this broker knows it. No topic is created, whatever the broker's
        settings."""
        answer = await self._ask(MetadataRequest(list(names), allow_auto_topic_creation=False))
        return ClusterMetadata(
            brokers={one["node_id"]: (one["host"], one["port"]) for one in answer["brokers"]},
            controller=answer["controller_id"],
            topics={said["topic"]: _topic(said) for said in answer["topics"] if said["partitions"]},
            forbidden=tuple(
                said["topic"] for said in answer["topics"] if errors.for_code(said["error_code"]) in _FORBIDDEN
            ),
        )

    async def create(self, names: Iterable[str], partitions: int, copies: int, config: Mapping[str, str]) -> list[str]:
        """Create topics at the controller. Return the names of the new ones. Raises `MovedError` at another broker."""
        wanted: list[Any] = [(name, partitions, copies, [], list(config.items())) for name in names]
        answer = await self._ask(CreateTopicsRequest(wanted, int(diagnosis.SECONDS * 1000), validate_only=False))
        results = {one["topic"]: (errors.for_code(one["error_code"]), one) for one in answer["topic_errors"]}
        for name, (error, said) in results.items():
            if error is errors.NotControllerError:
                raise MovedError
            if error not in {errors.NoError, errors.TopicAlreadyExistsError}:
                raise UnreachableError(_refusal(name, error, said.get("error_message")))
        return [name for name, (error, _) in results.items() if error is errors.NoError]

    async def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the configuration of each topic."""
        found = {}
        for one in (await self._ask(DescribeConfigsRequest([(_TOPIC, name, None) for name in names])))["resources"]:
            error = errors.for_code(one["error_code"])
            if error is not errors.NoError:
                raise UnreachableError(_refusal(one["resource_name"], error, one["error_message"]))
            values = {entry["config_names"]: entry["config_value"] for entry in one["config_entries"]}
            found[one["resource_name"]] = values
        return found

    async def ends(self, parts: Mapping[str, Iterable[int]]) -> dict[tuple[str, int], int]:
        """Return the offset of the next record of each partition. Raises `MovedError` if another broker leads one."""
        wanted = [(name, [(part, _NEWEST) for part in some]) for name, some in parts.items()]
        found = {}
        for topic in (await self._ask(OffsetRequest(-1, 0, wanted)))["topics"]:
            for part in topic["partitions"]:
                error = errors.for_code(part["error_code"])
                if error in _MOVED:
                    raise MovedError
                if error is not errors.NoError:
                    raise UnreachableError(_refusal(topic["topic"], error, None))
                found[topic["topic"], part["partition"]] = part["offset"]
        return found

    async def close(self) -> None:
        """Close the connection, and wait shortly for its end."""
        await _closed(self._connection, _CLOSE_SECONDS)

    async def _ask(self, request: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = (await self._connection.send(request)).to_object()
        except (errors.KafkaError, OSError, TimeoutError) as failed:
            raise UnreachableError(_meaning(failed, self._place, self._settings)) from failed
        return answer


class MovedError(FirstHourError):
    """Raised when another broker is the controller or the leader by now."""


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
    """Connect to the first broker that accepts us. Raises the `UnreachableError` of the first broker if none does."""
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
    trouble = await diagnosis.knock(WHAT, host, port, VARIABLE)
    if trouble is not None:
        raise UnreachableError(trouble)
    place = f"{host}:{port}"
    connection = AIOKafkaConnection(host, port, request_timeout_ms=int(diagnosis.SECONDS * 1000), **options)
    try:
        await connection.connect()
    except (errors.KafkaError, OSError, EOFError, TimeoutError) as failed:
        await _closed(connection, _GIVE_UP_SECONDS)
        raise UnreachableError(_meaning(failed, place, settings)) from failed
    return KafkaConnection(connection, place, settings)


async def _closed(connection: Any, seconds: float) -> None:
    """Close a connection, and wait shortly for its end. After a failed handshake the end is never reported, but the socket is
    closed."""
    closed = connection.close()
    if closed is not None:
        await asyncio.wait([closed], timeout=seconds)


def _topic(said: Mapping[str, Any]) -> TopicMetadata:
    copies = min(len(part["replicas"]) for part in said["partitions"])
    return TopicMetadata({part["partition"]: part["leader"] for part in said["partitions"]}, copies)


def _meaning(failed: BaseException, place: str, settings: Settings) -> Diagnosis:
    """The diagnosis of a connection that failed."""
    signs_in, encrypts = settings.kafka_password is not None, settings.kafka_security_protocol.endswith("SSL")
    if isinstance(failed, ssl.SSLCertVerificationError):
        remedy = f"give the authority in {PREFIX}KAFKA_CA_FILE, or take the name that the certificate is for"
        return diagnosis.untrusted(WHAT, place, failed, remedy)
    if isinstance(failed, errors.UnsupportedSaslMechanismError):
        said = f"{place} does not know {settings.kafka_sasl_mechanism}"
        return Diagnosis(WHAT, "auth", said, f"correct {PREFIX}KAFKA_SASL_MECHANISM")
    if isinstance(failed, _AUTH):
        said = f"{place} refuses user {settings.kafka_username} or the password"
        return Diagnosis(WHAT, "auth", said, f"correct {PREFIX}KAFKA_USERNAME and {PREFIX}KAFKA_PASSWORD")
    if isinstance(failed, errors.IllegalSaslStateError):
        return Diagnosis(WHAT, "auth", f"nobody signs in at {place}", f"correct {PROTOCOL}, or the port")
    if isinstance(failed, errors.UnsupportedVersionError | errors.IncompatibleBrokerVersion | NotImplementedError):
        return Diagnosis(WHAT, "old", f"{place} is of another age ({type(failed).__name__})", "take Kafka 3.9 or newer")
    if isinstance(failed, TimeoutError):
        said = f"{place} takes the connection and says nothing"
        return Diagnosis(
            WHAT, "silent", said, f"look whether the broker is well; if so, correct {PROTOCOL}, or the port"
        )
    if encrypts and isinstance(failed, OSError):
        return Diagnosis(WHAT, "tls", f"{place} does not speak TLS as we do ({_reason(failed)})", f"correct {PROTOCOL}")
    wanted = "a sign-in" if encrypts else "TLS" if signs_in else "TLS or a sign-in"
    said = f"{place} closes the connection when spoken to; it may want {wanted}"
    return Diagnosis(WHAT, "tls", said, f"correct {PROTOCOL} (it is {settings.kafka_security_protocol}), or the port")


def _reason(failed: OSError) -> str:
    return getattr(failed, "reason", None) or failed.strerror or type(failed).__name__


def _refusal(name: str, error: type[Exception], said: str | None) -> Diagnosis:
    """The diagnosis of a refusal about a topic."""
    if error in _FORBIDDEN:
        return forbidden([name])
    kind: Kind = "missing" if error is errors.UnknownTopicOrPartitionError else "unfit"
    reason = f"{error.__name__}: {said}" if said else error.__name__
    remedy = "look at the brokers' log; try again if they are just starting"
    if error is errors.InvalidReplicationFactorError:
        remedy = f"start more brokers, or set {PREFIX}KAFKA_REPLICATION lower"
    return Diagnosis(WHAT, kind, f"refused for topic {name} ({reason})", remedy)


def forbidden(names: Sequence[str]) -> Diagnosis:
    """Return the diagnosis of missing rights on topics."""
    remedy = "allow Describe, DescribeConfigs, Create, Read and Write on topics and Read on groups of this prefix"
    return Diagnosis(WHAT, "forbidden", f"no right to {', '.join(names)}", remedy)
