"""The diagnosis of a server that cannot be used: name, network, TLS, credentials, rights, or missing objects.

`eventlog.kafka_diagnosis` examines Kafka, `connectivity.postgres` examines PostgreSQL; both return diagnoses of this module.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import FirstHourError

SECONDS: Final = 3.0  # the time limit of each step of a diagnosis

Kind = Literal[
    "dns", "refused", "silent", "tls", "certificate", "auth", "forbidden", "missing", "migration", "old", "unfit"
]

ABSENT: Final = frozenset({"dns", "refused", "silent"})


@dataclass(frozen=True)
class Diagnosis:
    """One problem with its remedy. `stops`: whether FirstHour cannot work until it is solved."""

    server: str
    kind: Kind
    problem: str
    remedy: str
    stops: bool = True

    @property
    def absent(self) -> bool:
        """Whether no server answers, so that waiting makes sense. Otherwise a server answers, and refuses FirstHour."""
        return self.kind in ABSENT

    def __str__(self) -> str:
        return f"{self.server}: {self.problem}; {self.remedy}"


class UnreachableError(FirstHourError):
    """Raised when a server cannot be used."""

    def __init__(self, trouble: Diagnosis) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


async def check_port(server: str, host: str, port: int, variable: str) -> Diagnosis | None:
    """Return the problem with a host and port; None: it accepts connections. `variable`: the setting with this address."""
    place = f"{host}:{port}"
    try:
        async with asyncio.timeout(SECONDS):
            addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):  # UnicodeError: a label of more than 63 characters
        return Diagnosis(server, "dns", f"there is no host named {host}", f"correct {variable} or the name service")
    except TimeoutError:
        return Diagnosis(
            server, "dns", f"the name {host} is not resolved within {SECONDS:.0f} s", "check the name service"
        )
    troubles = [await _connect(server, place, family, address, variable) for family, _, _, _, address in addresses[:4]]
    return None if None in troubles else troubles[0]


async def _connect(
    server: str,
    place: str,
    family: int,
    address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
    variable: str,
) -> Diagnosis | None:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.get_running_loop().sock_connect(connection, address)
        except TimeoutError:
            remedy = "check that the host is up and that no firewall drops the connection"
            return Diagnosis(server, "silent", f"{place} does not answer within {SECONDS:.0f} s", remedy)
        except ConnectionRefusedError:
            return Diagnosis(
                server, "refused", f"nothing listens at {place}", f"start the server, or correct {variable}"
            )
        except OSError as failure:
            return Diagnosis(
                server, "silent", f"{place} cannot be reached ({failure.strerror})", f"correct {variable} or the route"
            )
    return None


def untrusted(server: str, place: str, failure: ssl.SSLCertVerificationError, remedy: str) -> Diagnosis:
    """Return the diagnosis of a server whose certificate is not trusted."""
    reason = failure.verify_message.rstrip(".") or "it is not valid"
    return Diagnosis(server, "certificate", f"the certificate of {place} is not trusted ({reason})", remedy)
