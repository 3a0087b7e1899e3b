"""Options of the clients of Kafka and PostgreSQL, as derived from the settings."""

import ssl
from pathlib import Path

import pytest

from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.settings import SettingsError, load


def test_client_options_equal_the_settings(distributed: pytest.MonkeyPatch) -> None:
    for key, value in {
        "SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "SCRAM-SHA-512", "USERNAME": "u", "PASSWORD": "hunter2",
    }.items():  # fmt: skip
        distributed.setenv(f"FIRSTHOUR_KAFKA_{key}", value)
    distributed.setenv("FIRSTHOUR_DATABASE_URL", "postgresql://u%40x:hun%2Fter%3A2@[::1]:5433/le%20ads?sslmode=require")
    options = connection_options.kafka_options(load())
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "bootstrap_servers": ["k-1:9092", "k-2:9092"],
        "client_id": "firsthour",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "hunter2",
    }
    url, arguments = connection_options.database(load())
    assert (url.drivername, url.username, url.password) == ("postgresql+asyncpg", "u@x", "hun/ter:2")
    assert (url.host, url.port, url.database) == ("::1", 5433, "le ads")
    assert "hun/ter" not in repr(url)
    assert arguments.keys() == {"ssl", "timeout", "server_settings"}


@pytest.mark.parametrize(
    ("query", "argument"), [("", "prefer"), ("?sslmode=prefer", "prefer"), ("?sslmode=disable", False)]
)
def test_sslmode_without_certificate_is_passed_to_the_driver(
    query: str, argument: object, distributed: pytest.MonkeyPatch
) -> None:
    distributed.setenv("FIRSTHOUR_DATABASE_URL", f"postgresql://u@db/x{query}")
    assert connection_options.database(load())[1]["ssl"] == argument


@pytest.mark.parametrize(
    ("query", "checks", "named"),
    [
        ("sslmode=require", ssl.CERT_NONE, False),
        ("sslmode=require&sslrootcert={ca}", ssl.CERT_REQUIRED, False),  # as libpq has it
        ("sslmode=verify-ca", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-full", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full&sslrootcert=system", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full&sslrootcert={ca}", ssl.CERT_REQUIRED, True),
    ],
)
def test_sslmode_verifies_as_in_libpq(
    query: str, checks: ssl.VerifyMode, named: bool, distributed: pytest.MonkeyPatch, ca: Path
) -> None:
    distributed.setenv("FIRSTHOUR_DATABASE_URL", f"postgresql://u@db/x?{query.format(ca=ca)}")
    context = connection_options.database(load())[1]["ssl"]
    assert (context.verify_mode, context.check_hostname) == (checks, named)


def test_client_options_without_settings_are_refused(bare: None) -> None:
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP: is not set"):
        connection_options.kafka_options(load())
    with pytest.raises(SettingsError, match="DATABASE_URL: is not set"):
        connection_options.database(load())
