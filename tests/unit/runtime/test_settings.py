"""Settings: where they come from, and what is refused."""

import os
import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from firsthour.runtime import settings
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.http.errors import exit_code_of
from firsthour.runtime.settings import Settings, SettingsError, load
from tests.fakes import certificates


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


SECRET = "a-very-secret-key-" * 2


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    assert exit_code_of(caught.value) == 2
    return str(caught.value)


def test_nothing_set_gives_the_embedded_profile() -> None:
    got = load()
    assert got.database_url is None
    assert got.kafka_bootstrap is None
    assert got.slack_api_url == "https://slack.com/api/"
    assert got.log_format == "json"
    assert got.warnings() == ()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")


def test_the_environment_is_taken_and_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "https://leads.example.com/first/")
    monkeypatch.setenv("FIRSTHOUR_LOG_FORMAT", "")
    monkeypatch.setenv("FIRSTHOUR_DATABASE_URL", "")
    assert not load().distributed
    assert load().public_url == "https://leads.example.com/first"
    assert load().log_format == "json"


def test_what_the_command_line_says_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_DATA_DIR", "/env")
    assert load(data_dir=Path("/flag"), config_dir=None).data_dir == Path("/flag")
    assert load(data_dir=None).data_dir == Path("/env")


def test_a_secret_may_come_from_a_file_and_is_stripped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {SECRET}\n")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    assert load().admin_key == SecretStr(SECRET)


def test_every_secret_may_come_from_a_file() -> None:
    assert set(settings.secret_fields()) == {
        "admin_key", "slack_bot_token", "slack_signing_secret", "smtp_url", "database_url", "kafka_password",
    }  # fmt: skip


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("one-secret-key")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY", "another-secret")
    assert "keep one of the two" in refused()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b" \n", "is empty")]
)
def test_a_secret_file_that_cannot_be_used_is_named(
    content: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    message = refused()
    assert message.startswith("FIRSTHOUR_ADMIN_KEY_FILE: ")
    assert said in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "leads.example.com"),
        ("PUBLIC_URL", "https://u:hunter2@leads.example.com"),
        ("PUBLIC_URL", "https://leads.example.com?a=hunter2"),
        ("PUBLIC_URL", "https://leads.example.com:99999/hunter2"),
        ("PUBLIC_URL", "https://[::1/hunter2"),
        ("SLACK_API_URL", "ftp://hunter2"),
        ("SLACK_API_URL", "http://hunter2.example/api/"),
        ("SLACK_BOT_TOKEN", "xoxb hunter2"),
        ("ADMIN_KEY", "hunter2-" * 3 + "hunter2"),
        ("ADMIN_KEY", "hunter2-mötley" * 3),
        ("SMTP_URL", "mail.example.com:hunter2"),
        ("MAIL_FROM", "hunter2"),
        ("MAIL_FROM", "A <a@example.com>\nBcc: hunter2@example.com"),
        ("LOG_FORMAT", "hunter2"),
        ("KAFKA_SECURITY_PROTOCOL", "hunter2"),
        ("KAFKA_PREFIX", "hunter2/"),
        ("KAFKA_PARTITIONS", "0"),
        ("KAFKA_REPLICATION", "hunter2"),
        ("SPOOL_BYTES_MAX", "1000"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_never_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FIRSTHOUR_{name}", value)
    message = refused()
    assert message.startswith(f"FIRSTHOUR_{name}: ")
    assert "hunter2" not in message


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.Authority(tmp_path_factory.mktemp("ca")).file


@pytest.fixture
def distributed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("FIRSTHOUR_DATABASE_URL", "postgresql://u:hunter2@db/x")
    monkeypatch.setenv("FIRSTHOUR_KAFKA_BOOTSTRAP", "k-1:9092, k-2:9092")
    return monkeypatch


def test_kafka_and_postgresql_together_are_the_distributed_profile(distributed: pytest.MonkeyPatch) -> None:
    got = load()
    assert got.distributed
    assert got.kafka_bootstrap == "k-1:9092,k-2:9092"
    assert (got.kafka_prefix, got.kafka_partitions, got.kafka_replication) == ("firsthour.", 12, None)
    assert got.spool_bytes_max == 1024**3
    assert "hunter2" not in repr(got)


@pytest.mark.parametrize(
    ("missing", "given"), [("DATABASE_URL", "KAFKA_BOOTSTRAP"), ("KAFKA_BOOTSTRAP", "DATABASE_URL")]
)
def test_one_of_the_two_alone_is_refused_naming_both(missing: str, given: str, distributed: pytest.MonkeyPatch) -> None:
    distributed.delenv(f"FIRSTHOUR_{missing}")
    assert refused() == (
        f"FIRSTHOUR_{missing}: is needed with FIRSTHOUR_{given}; set both, or neither to run embedded in one process"
    )


@pytest.mark.parametrize(
    "value",
    [
        "mysql://u:hunter2@db/x",
        "postgresql://u:hunter2@db",
        "postgresql://u:hunter2@db/",
        "postgresql://u:hunter2@db/x/y",
        "postgresql://u:hunter2@db:99999/x",
        "postgresql://:hunter2@db/x",
        "postgresql://u:hunter2#1@db/x",
        "postgresql:///hunter2",
        "postgresql://u:hunter2@db/x?sslmode=hunter2",
        "postgresql://u:hunter2@db/x?sslmode=verify-full&hunter2=1",
        "postgresql://u:hunter2@db/x?sslmode=verify-full&sslrootcert=/nowhere/hunter2",
        "postgresql://u:hunter2@db/x?sslrootcert=/hunter2",
    ],
)
def test_a_database_that_cannot_be_meant_is_refused_without_its_password(
    value: str, distributed: pytest.MonkeyPatch
) -> None:
    distributed.setenv("FIRSTHOUR_DATABASE_URL", value)
    message = refused()
    assert message.startswith("FIRSTHOUR_DATABASE_URL: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("value", ["k", "k:0", "k:65536", "k:9092,", ",", "PLAINTEXT://k:9092", "k:9092;l:9092", "k:a"])
def test_brokers_are_named_by_host_and_port(value: str, distributed: pytest.MonkeyPatch) -> None:
    distributed.setenv("FIRSTHOUR_KAFKA_BOOTSTRAP", value)
    assert refused() == (
        "FIRSTHOUR_KAFKA_BOOTSTRAP: give host:port of one broker or more, like kafka-1:9092,kafka-2:9092"
    )


@pytest.mark.parametrize("name", ["SASL_MECHANISM", "USERNAME", "PASSWORD"])
def test_signing_in_to_kafka_needs_all_of_it(name: str, distributed: pytest.MonkeyPatch) -> None:
    whole = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN", "USERNAME": "u", "PASSWORD": "hunter2"}
    for key, value in whole.items():
        distributed.setenv(f"FIRSTHOUR_KAFKA_{key}", value)
    assert load().kafka_password == SecretStr("hunter2")
    assert load().warnings() == ()
    distributed.delenv(f"FIRSTHOUR_KAFKA_{name}")
    assert refused().startswith(f"FIRSTHOUR_KAFKA_{name}: is needed with FIRSTHOUR_KAFKA_SECURITY_PROTOCOL=SASL_SSL")
    for key in whole.keys() - {name}:
        distributed.delenv(f"FIRSTHOUR_KAFKA_{key}")
    distributed.setenv(f"FIRSTHOUR_KAFKA_{name}", whole.get(name, ""))
    message = refused()
    assert message.startswith(f"FIRSTHOUR_KAFKA_{name}: needs FIRSTHOUR_KAFKA_SECURITY_PROTOCOL=SASL_SSL")
    assert "hunter2" not in message


def test_an_authority_is_only_taken_where_something_is_encrypted(
    distributed: pytest.MonkeyPatch, tmp_path: Path, ca: Path
) -> None:
    distributed.setenv("FIRSTHOUR_KAFKA_CA_FILE", str(tmp_path / "ca.pem"))
    assert "No such file" in refused()
    (tmp_path / "ca.pem").write_text("no certificate")
    assert refused() == ("FIRSTHOUR_KAFKA_CA_FILE: holds no certificates; give those of the authority, as PEM")
    distributed.setenv("FIRSTHOUR_KAFKA_CA_FILE", str(ca))
    assert refused().startswith("FIRSTHOUR_KAFKA_CA_FILE: needs FIRSTHOUR_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
    distributed.setenv("FIRSTHOUR_KAFKA_SECURITY_PROTOCOL", "SSL")
    assert load().kafka_ca_file == ca


def test_a_password_sent_in_the_clear_is_warned_of(distributed: pytest.MonkeyPatch) -> None:
    for key, value in {
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN", "USERNAME": "u", "PASSWORD": "p",
    }.items():  # fmt: skip
        distributed.setenv(f"FIRSTHOUR_KAFKA_{key}", value)
    (warning,) = load().warnings()
    assert "take SASL_SSL" in warning


def test_clients_are_given_what_the_settings_say(distributed: pytest.MonkeyPatch) -> None:
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
    ("query", "given"), [("", "prefer"), ("?sslmode=prefer", "prefer"), ("?sslmode=disable", False)]
)
def test_what_needs_no_certificate_is_left_to_the_driver(
    query: str, given: object, distributed: pytest.MonkeyPatch
) -> None:
    distributed.setenv("FIRSTHOUR_DATABASE_URL", f"postgresql://u@db/x{query}")
    assert connection_options.database(load())[1]["ssl"] == given


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
def test_sslmode_means_what_it_means_elsewhere(
    query: str, checks: ssl.VerifyMode, named: bool, distributed: pytest.MonkeyPatch, ca: Path
) -> None:
    distributed.setenv("FIRSTHOUR_DATABASE_URL", f"postgresql://u@db/x?{query.format(ca=ca)}")
    context = connection_options.database(load())[1]["ssl"]
    assert (context.verify_mode, context.check_hostname) == (checks, named)


def test_nothing_is_reached_where_nothing_is_set() -> None:
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP: is not set"):
        connection_options.kafka_options(load())
    with pytest.raises(SettingsError, match="DATABASE_URL: is not set"):
        connection_options.database(load())


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "x")
    monkeypatch.setenv("FIRSTHOUR_LOG_FORMAT", "xml")
    assert len(refused().splitlines()) == 2


def test_mail_without_a_sender_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "smtp://mail.example.com:25")
    assert refused().startswith("FIRSTHOUR_MAIL_FROM: is needed with FIRSTHOUR_SMTP_URL")
    monkeypatch.setenv("FIRSTHOUR_MAIL_FROM", "FirstHour <leads@example.com>")
    assert load().mail_from == "FirstHour <leads@example.com>"


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "smtp://u:hunter2@mail.example.com")
    monkeypatch.setenv("FIRSTHOUR_MAIL_FROM", "leads@example.com")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY", "hunter2-" * 4)
    assert "hunter2" not in repr(load())


def test_unwise_settings_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SLACK_BOT_TOKEN", "xoxb-1234567890")
    [unsigned] = load().warnings()
    assert "SLACK_SIGNING_SECRET" in unsigned


def test_the_environment_is_handed_out_as_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_HOOK_SECRET", "s")
    copy = settings.environ()
    assert copy["FIRSTHOUR_HOOK_SECRET"] == "s"
    copy["FIRSTHOUR_HOOK_SECRET"] = "t"
    assert os.environ["FIRSTHOUR_HOOK_SECRET"] == "s"


def test_a_mistyped_variable_is_named_with_the_nearest_right_one() -> None:
    given = (
        "FIRSTHOUR_SMTP_ULR",
        "firsthour_log_format",
        "FIRSTHOUR_PUBLIC_URL_FILE",
        "PATH",
        "FIRSTHOUR_HOOK",
        "FIRST",
    )
    assert settings.unknown_variables(given, also={"FIRSTHOUR_HOOK"}) == (
        "`FIRSTHOUR_PUBLIC_URL_FILE` is not a setting and has no effect; did you mean FIRSTHOUR_PUBLIC_URL?",
        "`FIRSTHOUR_SMTP_ULR` is not a setting and has no effect; did you mean FIRSTHOUR_SMTP_URL?",
    )
    assert settings.unknown_variables(["FIRST_HOUR_SMTP_URL", "FIRSTHOUR_X\x1b[2J"]) == (
        "`'FIRSTHOUR_X\\x1b[2J'` is not a setting and has no effect; unset it; the settings are listed in the README",
        "`FIRST_HOUR_SMTP_URL` has no effect; did you mean FIRSTHOUR_SMTP_URL?",
    )


@pytest.mark.parametrize("name", settings.variables())
def test_a_variable_that_is_read_is_not_called_unknown(name: str) -> None:
    assert settings.unknown_variables([name, name.lower()]) == ()


def test_the_log_level_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().log_level == "info"
    monkeypatch.setenv("FIRSTHOUR_LOG_LEVEL", "WARNING")
    assert load().log_level == "warning"
    monkeypatch.setenv("FIRSTHOUR_LOG_LEVEL", "loud")
    assert "FIRSTHOUR_LOG_LEVEL" in refused()


def test_no_message_prints_a_regular_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_KAFKA_PREFIX", "a b")
    assert refused() == (
        "FIRSTHOUR_KAFKA_PREFIX: give 1 to 100 letters, digits, dots, underscores and hyphens, such as firsthour."
    )
    assert not any(field.metadata and "pattern" in repr(field.metadata) for field in Settings.model_fields.values())
