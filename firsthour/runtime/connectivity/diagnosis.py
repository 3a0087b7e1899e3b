"""Why something cannot be reached, told apart: name, network, TLS, credentials, rights, what is missing there.

Kafka is looked at in `kafka_admin`, PostgreSQL in `database_look`; both speak in the troubles of this file.
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
    """One thing that is wrong, and what to do. `stops`: false where work goes on all the same."""

    what: str
    kind: Kind
    said: str
    remedy: str
    stops: bool = True

    @property
    def absent(self) -> bool:
        """Whether nobody is there (it may come, waiting makes sense), as against somebody who refuses us."""
        return self.kind in ABSENT

    def __str__(self) -> str:
        return f"{self.what}: {self.said}; {self.remedy}"


class UnreachableError(FirstHourError):
    """Something could not be done over there."""

    def __init__(self, trouble: Diagnosis) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


async def knock(what: str, host: str, port: int, variable: str) -> Diagnosis | None:
    """Whether somebody listens there: the name, then the port. `variable`: the setting that names the place."""
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
    """The trouble with a certificate that was not accepted."""
    said = refused.verify_message.rstrip(".") or "it is not valid"
    return Diagnosis(what, "certificate", f"the certificate of {place} is not trusted ({said})", remedy)
