"""The diagnosis of a server that cannot be used: name, network, TLS, credentials, rights, or missing objects.

`eventlog.kafka_diagnosis` examines Kafka, `connectivity.postgres` examines PostgreSQL; both return diagnoses of this module.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import FirstHourError

SECONDS: Final = 3.0

Kind = Literal[
    "dns", "refused", "silent", "tls", "certificate", "auth", "forbidden", "missing", "migration", "old", "unfit"
]

ABSENT: Final = frozenset({"dns", "refused", "silent"})


@dataclass(frozen=True)
class Diagnosis:
    """One problem with its remedy. `stops`: whether FirstHour cannot work until it is solved."""

    what: str
    kind: Kind
    said: str
    remedy: str
    stops: bool = True

    @property
    def absent(self) -> bool:
        """Whether no server answers, so that waiting makes sense; otherwise a server refuses us."""
        return self.kind in ABSENT

    def __str__(self) -> str:
        return f"{self.what}: {self.said}; {self.remedy}"


class UnreachableError(FirstHourError):
    """Raised when a server cannot be used."""

    def __init__(self, trouble: Diagnosis) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


async def knock(what: str, host: str, port: int, variable: str) -> Diagnosis | None:
    """Return the problem with a host and port, or None. `variable`: the setting that names them."""
    place = f"{host}:{port}"
    try:
        async with asyncio.timeout(SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):  # UnicodeError: a label of more than 63 letters
        return Diagnosis(what, "dns", f"there is no host named {host}", f"correct {variable}, or the name service")
    except TimeoutError:
        return Diagnosis(what, "dns", f"the name {host} is not resolved in {SECONDS:.0f} s", "look at the name service")
    troubles = [await _knock(what, place, one[0], one[4], variable) for one in found[:4]]
    return None if None in troubles else troubles[0]


async def _knock(
    what: str,
    place: str,
    family: int,
    address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
    variable: str,
) -> Diagnosis | None:
    with socket.socket(family, socket.SOCK_STREAM) as knocking:
        knocking.setblocking(False)
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.get_running_loop().sock_connect(knocking, address)
        except TimeoutError:
            remedy = "look whether a firewall stands between, and whether the host is up"
            return Diagnosis(what, "silent", f"{place} does not answer in {SECONDS:.0f} s", remedy)
        except ConnectionRefusedError:
            return Diagnosis(what, "refused", f"nothing listens at {place}", f"start it, or correct {variable}")
        except OSError as failed:
            return Diagnosis(
                what, "silent", f"{place} cannot be reached ({failed.strerror})", f"correct {variable}, or the route"
            )
    return None


def untrusted(what: str, place: str, refused: ssl.SSLCertVerificationError, remedy: str) -> Diagnosis:
    """Return the diagnosis of a certificate that was not accepted."""
    said = refused.verify_message.rstrip(".") or "it is not valid"
    return Diagnosis(what, "certificate", f"the certificate of {place} is not trusted ({said})", remedy)
