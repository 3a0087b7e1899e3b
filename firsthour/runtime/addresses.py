"""Parses addresses of web, mail, PostgreSQL and Kafka. An error never quotes the value: it may contain a password."""

import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]

POSTGRES: Final = "postgresql://user:password@host:5432/database"
POSTGRES_PORT: Final = 5432
_BROKER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Postgres:
    """The address of a PostgreSQL database. `root`: the file with the authorities of its certificate."""

    host: str
    port: int
    user: str
    password: str | None
    database: str
    ssl_mode: SslMode = "prefer"
    root: Path | None = None

    def __repr__(self) -> str:
        return f"Postgres({self.host}:{self.port}/{self.database})"  # without the password: a repr may be printed


def split(value: str, schemes: set[str], example: str) -> SplitResult:
    """Return the parts of a URL with a host. Raises `ValueError` with the remedy."""
    try:
        parts = urlsplit(value)
        whole = parts.scheme in schemes and bool(parts.hostname) and value.isprintable() and " " not in value
        if whole and (parts.port is None or parts.port > 0):
            return parts
    except ValueError:  # a port out of range, a broken IPv6 address
        pass
    raise ValueError(f"is not such an address; give {example}")


def is_loopback(host: str) -> bool:
    """Return whether the host name is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def postgres(value: str) -> Postgres:
    """Return the parts of a `postgresql://` URL. Raises `ValueError` with the remedy."""
    parts = split(value, {"postgresql", "postgres"}, f"{POSTGRES}, special characters of the password as %XX")
    database = unquote(parts.path.removeprefix("/"))
    if not parts.username or not database or "/" in database or parts.fragment or not parts.hostname:
        raise ValueError(f"has no user or no database; give {POSTGRES}, special characters as %XX")
    mode, root = _ssl(parts.query)
    return Postgres(
        host=parts.hostname,
        port=parts.port or POSTGRES_PORT,
        user=unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        database=database,
        ssl_mode=mode,
        root=root,
    )


def _ssl(query: str) -> tuple[SslMode, Path | None]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    mode, root = options.pop("sslmode", "prefer"), options.pop("sslrootcert", "system")
    if options:
        raise ValueError("has an unknown option after the ?; give sslmode=... and sslrootcert=... only")
    if mode not in get_args(SslMode):
        raise ValueError(f"has an unknown sslmode; use one of: {', '.join(get_args(SslMode))}")
    if root == "system":
        return cast(SslMode, mode), None
    if mode in {"disable", "prefer"}:
        raise ValueError("has an sslrootcert that checks nothing with this sslmode; give sslmode=verify-full")
    authorities(Path(root), "sslrootcert: ")
    return cast(SslMode, mode), Path(root)


def authorities(file: Path, named: str = "") -> ssl.SSLContext:
    """Return a context that trusts only the certificates in `file`. Raises `ValueError`."""
    try:
        return ssl.create_default_context(cafile=str(file))
    except ssl.SSLError:
        raise ValueError(f"{named}holds no certificates; give those of the authority, as PEM") from None
    except OSError as error:
        raise ValueError(f"{named}{error.strerror}; name a file this user can read") from None


def brokers(value: str) -> list[tuple[str, int]]:
    """Return host and port of each broker in `host:port,host:port`. Raises `ValueError`."""
    addresses = []
    for broker in value.split(","):
        match = _BROKER.fullmatch(broker.strip())
        if match is None or not 0 < int(match["port"]) < 65536:
            raise ValueError(
                "is not a list of brokers; give host:port of one or more, such as kafka-1:9092,kafka-2:9092"
            )
        addresses.append((match["host"].strip("[]"), int(match["port"])))
    return addresses
