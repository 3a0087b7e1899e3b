"""How Kafka and PostgreSQL are reached: what every client of theirs is given, from the settings."""

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
"""Settings of every database session, whatever the defaults of the server, the database and the role are."""


def kafka_options(settings: Settings) -> dict[str, Any]:
    """What every aiokafka client is given. Raises `SettingsError` where there is no Kafka to reach."""
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
    """Where the database is. Raises `SettingsError` where there is none to reach."""
    if settings.database_url is None:
        raise SettingsError((f"{PREFIX}DATABASE_URL: is not set; give {addresses.POSTGRES}",))
    return addresses.postgres(settings.database_url.get_secret_value())


def database(settings: Settings) -> tuple[sa.URL, dict[str, Any]]:
    """SQLAlchemy's URL and `connect_args` for asyncpg. Raises `SettingsError` where there is no database to reach."""
    place = postgres(settings)
    url = sa.URL.create(
        "postgresql+asyncpg", place.user, place.password, place.host, place.port, place.database
    )  # printed with *** for the password
    arguments: dict[str, Any] = {"ssl": tls(place), "timeout": CONNECT_SECONDS, "server_settings": dict(SESSION)}
    return url, arguments


def tls(place: Postgres) -> ssl.SSLContext | str | bool:
    """asyncpg's `ssl`, meant as libpq means it: `require` with `sslrootcert` checks who signed the certificate.

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


def _trusting(file: Path | None, named: str) -> ssl.SSLContext:
    """A context that trusts the authorities in `file`, or the system's. Its content was good when settings were read."""
    if file is None:
        return ssl.create_default_context()
    try:
        return addresses.authorities(file)
    except ValueError as changed:
        raise SettingsError((f"{named}{changed}",)) from None


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # encrypted, by whomever: what `sslmode=require` asks for
    return context
