"""Types of settings: each accepts only usable values. An error never quotes the value: it may be a secret."""

import re
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from firsthour.runtime import addresses

_ROLE_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_KAFKA_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


def _lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _kafka_prefix(value: str) -> str:
    if not _KAFKA_PREFIX.fullmatch(value):
        raise ValueError(
            "is not a prefix; give 1 to 100 letters, digits, dots, underscores and hyphens, such as firsthour."
        )
    return value


def _role_prefix(value: str) -> str:
    if not _ROLE_PREFIX.fullmatch(value):
        raise ValueError("is not a prefix; give 1 to 40 lower-case letters, digits and underscores, such as firsthour_")
    return value


def _web_address(value: str) -> str:
    parts = addresses.split(value.strip(), {"http", "https"}, "http://host or https://host, with a path if need be")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("is more than an address; give it without user, query and fragment")
    return value.strip().rstrip("/")


def _api_address(value: str) -> str:
    parts = addresses.split(value, {"http", "https"}, "https://host")
    if parts.scheme == "http" and not addresses.is_loopback(parts.hostname or ""):
        raise ValueError("is plain http, over which the token could be read on the way; give https://")
    return value + "/"  # so that the name of a method can be appended


def _heartbeat(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        addresses.split(value.get_secret_value().strip(), {"http", "https"}, "https://host/path")
        return SecretStr(value.get_secret_value().strip())
    return None


def _hard_to_guess(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not re.fullmatch(r"[!-~]{32,512}", value.get_secret_value()):
        raise ValueError(
            "is not a key; give 32 to 512 characters of plain ASCII without spaces, such as `openssl rand -hex 32` makes"
        )
    return value


def _header_safe(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not re.fullmatch(r"[!-~]{8,512}", value.get_secret_value()):
        raise ValueError("is not a secret; give 8 to 512 characters of plain ASCII without spaces")
    return value


def _mail_server(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        addresses.split(value.get_secret_value(), {"smtp", "smtps"}, "smtp://user:password@host:587 or smtps://...")
    return value


def _sender(value: str | None) -> str | None:
    if value is not None and (not value.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(value)[1])):
        raise ValueError("is not an address; give one such as FirstHour <leads@example.com>")
    return value


def _database(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        addresses.postgres(value.get_secret_value())
    return value


def _brokers(value: str | None) -> str | None:
    if value is None:
        return None
    addresses.brokers(value)
    return ",".join(broker.strip() for broker in value.split(","))


def _hosts(value: object) -> object:
    return tuple(filter(None, (host.strip().lower() for host in value.split(",")))) if isinstance(value, str) else value


def _networks(value: object) -> object:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        return value
    try:
        return tuple(ip_network(text.strip()) if isinstance(text, str) else text for text in listed if text != "")
    except ValueError:
        raise ValueError(
            "is not a list of networks; write addresses or networks, separated by commas, such as 10.0.0.5,172.18.0.0/16"
        ) from None


def _authorities(value: Path | None) -> Path | None:
    if value is not None:
        addresses.authorities(value)
    return value


LowerCase = BeforeValidator(_lower_case)
KafkaPrefix = Annotated[str, AfterValidator(_kafka_prefix)]
RolePrefix = Annotated[str, AfterValidator(_role_prefix)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
"""A URL without a slash at its end."""
ApiAddress = Annotated[WebAddress, AfterValidator(_api_address)]
"""A URL with a slash at its end. Plain http is allowed only to this machine."""
AdminKey = Annotated[SecretStr | None, AfterValidator(_hard_to_guess)]
HeaderSecret = Annotated[SecretStr | None, AfterValidator(_header_safe)]
HeartbeatAddress = Annotated[SecretStr | None, AfterValidator(_heartbeat)]
"""A URL that may hold a secret in its path or query."""
MailServer = Annotated[SecretStr | None, AfterValidator(_mail_server)]
MailSender = Annotated[str | None, AfterValidator(_sender)]
Database = Annotated[SecretStr | None, AfterValidator(_database)]
Brokers = Annotated[str | None, AfterValidator(_brokers)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)]
"""Names or addresses of hosts, separated by commas."""
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
"""Addresses or networks, separated by commas."""
AuthoritiesFile = Annotated[Path | None, AfterValidator(_authorities)]
