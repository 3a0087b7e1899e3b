"""The options of all clients of Kafka and PostgreSQL, from the settings."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from firsthour.runtime import addresses
from firsthour.runtime.addresses import Postgres
from firsthour.runtime.settings import PREFIX, Settings, SettingsError

CLIENT: Final = "firsthour"
CONNECT_SECONDS: Final = 5.0
SESSION: Final[Mapping[str, str]] = {
    "application_name": CLIENT,
    # Units rest on row locks and on conditions in statements. Under a stricter level that the server, the database or the
    # role has as its default, a unit that waited for a lock would fail instead of seeing the committed row.
    "default_transaction_isolation": "read committed",
    "jit": "off",  # compiling a plan costs more than any statement takes
}
"""Settings of every database session. They override the defaults of the server, the database and the role."""


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Return the options of an aiokafka client. Raises `SettingsError` if no Kafka is set."""
    if settings.kafka_bootstrap is None:
        raise SettingsError((f"{PREFIX}KAFKA_BOOTSTRAP: is not set; give host:port of the brokers",))
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "client_id": CLIENT,
        "security_protocol": settings.kafka_security_protocol,
    }
    if "SSL" in settings.kafka_security_protocol.split("_"):
        options["ssl_context"] = _trusting(settings.kafka_ca_file, f"{PREFIX}KAFKA_CA_FILE: ")
    if settings.kafka_password is not None:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return options


def postgres(settings: Settings) -> Postgres:
    """Return the address of the database. Raises `SettingsError` if none is set."""
    if settings.database_url is None:
        raise SettingsError((f"{PREFIX}DATABASE_URL: is not set; give {addresses.POSTGRES}",))
    return addresses.postgres(settings.database_url.get_secret_value())


def database(settings: Settings) -> tuple[sa.URL, dict[str, Any]]:
    """Return SQLAlchemy's URL and `connect_args` for asyncpg. Raises `SettingsError` if no database is set."""
    place = postgres(settings)
    # The repr of this class has *** for the password.
    url = sa.URL.create("postgresql+asyncpg", place.user, place.password, place.host, place.port, place.database)
    arguments: dict[str, Any] = {"ssl": tls(place), "timeout": CONNECT_SECONDS, "server_settings": dict(SESSION)}
    return url, arguments


def tls(place: Postgres) -> ssl.SSLContext | str | bool:
    """Return the `ssl` argument of asyncpg with the meaning of libpq: `require` with `sslrootcert` checks the certificate.

    The contexts are built here because asyncpg would look for authorities in the home directory.
    """
    if place.ssl_mode == "disable":
        return False
    if place.ssl_mode == "prefer":
        return "prefer"
    if place.ssl_mode == "require" and place.root is None:
        return _unchecked()
    context = _trusting(place.root, f"{PREFIX}DATABASE_URL: sslrootcert: ")
    context.check_hostname = place.ssl_mode == "verify-full"
    return context


def _trusting(file: Path | None, setting: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in `file`, or those of the system. The settings have checked the file."""
    if file is None:
        return ssl.create_default_context()
    try:
        return addresses.authorities(file)
    except ValueError as failure:
        raise SettingsError((f"{setting}{failure}",)) from None


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    # Encrypted, without a check of the certificate: the meaning of `sslmode=require`.
    context.verify_mode = ssl.CERT_NONE
    return context
