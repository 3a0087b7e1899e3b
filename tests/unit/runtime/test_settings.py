"""Settings: their sources and the values that are refused."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from firsthour.runtime import settings
from firsthour.runtime.http.errors import exit_code_of
from firsthour.runtime.settings import Settings, SettingsError, load

pytestmark = pytest.mark.usefixtures("bare")

SECRET = "a-very-secret-key-" * 2


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    assert exit_code_of(caught.value) == 2
    return str(caught.value)


def test_settings_without_variables_are_the_embedded_profile() -> None:
    loaded = load()
    assert loaded.database_url is None
    assert loaded.kafka_bootstrap is None
    assert loaded.slack_api_url == "https://slack.com/api/"
    assert loaded.log_format == "json"
    assert loaded.warnings() == ()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_has_a_description(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")


def test_variable_sets_the_setting_and_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "https://leads.example.com/first/")
    monkeypatch.setenv("FIRSTHOUR_LOG_FORMAT", "")
    monkeypatch.setenv("FIRSTHOUR_DATABASE_URL", "")
    assert not load().distributed
    assert load().public_url == "https://leads.example.com/first"
    assert load().log_format == "json"


def test_argument_replaces_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_DATA_DIR", "/env")
    assert load(data_dir=Path("/flag"), config_dir=None).data_dir == Path("/flag")
    assert load(data_dir=None).data_dir == Path("/env")


def test_secret_is_read_from_file_and_stripped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {SECRET}\n")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    assert load().admin_key == SecretStr(SECRET)


def test_secret_fields_are_the_settings_with_a_file_variable() -> None:
    assert set(settings.secret_fields()) == {
        "admin_key", "heartbeat_url", "slack_app_token", "slack_bot_token", "slack_signing_secret", "smtp_url", "database_url",
        "kafka_password", "oidc_client_secret",
    }  # fmt: skip


def test_secret_in_variable_and_in_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("one-secret-key")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY", "another-secret")
    assert "keep one of the two" in refused()


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b" \n", "is empty")]
)
def test_unusable_secret_file_is_refused_with_its_variable(
    content: bytes | None, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    message = refused()
    assert message.startswith("FIRSTHOUR_ADMIN_KEY_FILE: ")
    assert problem in message


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
def test_invalid_value_is_refused_with_its_variable_but_not_quoted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FIRSTHOUR_{name}", value)
    message = refused()
    assert message.startswith(f"FIRSTHOUR_{name}: ")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SPOOL_BYTES_MAX", "much", "is not a whole number; write digits, such as 30"),
        ("METRICS_PORT", "65536", "is out of range; give a number at most 65535"),
        ("DEADLETTER_DAYS", "0", "is out of range; give a number at least 1"),
        ("LOG_FORMAT", "xml", "is not one of the allowed values; use one of: json, console"),
        ("LOG_LEVEL", "loud", "is not one of the allowed values; use one of: debug, info, warning, error"),
        ("PUBLIC_URL", "here", "is not such an address; give http://host or https://host, with a path if need be"),
    ],
)
def test_invalid_value_is_refused_with_the_fault_and_the_remedy(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FIRSTHOUR_{name}", value)
    assert refused() == f"FIRSTHOUR_{name}: {message}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_refusal_of_a_setting_has_a_remedy_and_no_sentence_of_the_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FIRSTHOUR_{name}".upper(), "\x7f -1")
    try:
        load()
    except SettingsError as error:
        assert all("; " in line and "Input should" not in line for line in error.problems)


def test_kafka_and_postgresql_are_the_distributed_profile(distributed: pytest.MonkeyPatch) -> None:
    loaded = load()
    assert loaded.distributed
    assert loaded.kafka_bootstrap == "k-1:9092,k-2:9092"
    assert (loaded.kafka_prefix, loaded.kafka_partitions, loaded.kafka_replication) == ("firsthour.", 12, None)
    assert loaded.spool_bytes_max == 1024**3
    assert "hunter2" not in repr(loaded)


@pytest.mark.parametrize(
    ("missing", "present"), [("DATABASE_URL", "KAFKA_BOOTSTRAP"), ("KAFKA_BOOTSTRAP", "DATABASE_URL")]
)
def test_kafka_or_postgresql_alone_is_refused_with_both_names(
    missing: str, present: str, distributed: pytest.MonkeyPatch
) -> None:
    distributed.delenv(f"FIRSTHOUR_{missing}")
    assert refused() == (
        f"FIRSTHOUR_{missing}: is needed with FIRSTHOUR_{present}; set both, or neither to run embedded in one process"
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
def test_invalid_database_url_is_refused_without_its_password(value: str, distributed: pytest.MonkeyPatch) -> None:
    distributed.setenv("FIRSTHOUR_DATABASE_URL", value)
    message = refused()
    assert message.startswith("FIRSTHOUR_DATABASE_URL: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("value", ["k", "k:0", "k:65536", "k:9092,", ",", "PLAINTEXT://k:9092", "k:9092;l:9092", "k:a"])
def test_brokers_without_host_and_port_are_refused(value: str, distributed: pytest.MonkeyPatch) -> None:
    distributed.setenv("FIRSTHOUR_KAFKA_BOOTSTRAP", value)
    assert refused() == (
        "FIRSTHOUR_KAFKA_BOOTSTRAP: is not a list of brokers; give host:port of one or more, such as kafka-1:9092,kafka-2:9092"
    )


@pytest.mark.parametrize("name", ["SASL_MECHANISM", "USERNAME", "PASSWORD"])
def test_kafka_sasl_requires_mechanism_username_and_password(name: str, distributed: pytest.MonkeyPatch) -> None:
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


def test_kafka_ca_file_without_encryption_is_refused(distributed: pytest.MonkeyPatch, tmp_path: Path, ca: Path) -> None:
    distributed.setenv("FIRSTHOUR_KAFKA_CA_FILE", str(tmp_path / "ca.pem"))
    assert "No such file" in refused()
    (tmp_path / "ca.pem").write_text("no certificate")
    assert refused() == ("FIRSTHOUR_KAFKA_CA_FILE: holds no certificates; give those of the authority, as PEM")
    distributed.setenv("FIRSTHOUR_KAFKA_CA_FILE", str(ca))
    assert refused().startswith("FIRSTHOUR_KAFKA_CA_FILE: needs FIRSTHOUR_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
    distributed.setenv("FIRSTHOUR_KAFKA_SECURITY_PROTOCOL", "SSL")
    assert load().kafka_ca_file == ca


def test_kafka_password_without_encryption_is_a_warning(distributed: pytest.MonkeyPatch) -> None:
    for key, value in {
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN", "USERNAME": "u", "PASSWORD": "p",
    }.items():  # fmt: skip
        distributed.setenv(f"FIRSTHOUR_KAFKA_{key}", value)
    (warning,) = load().warnings()
    assert "use SASL_SSL" in warning


def test_all_invalid_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "x")
    monkeypatch.setenv("FIRSTHOUR_LOG_FORMAT", "xml")
    assert len(refused().splitlines()) == 2


def test_smtp_url_without_sender_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "smtp://mail.example.com:25")
    assert refused().startswith("FIRSTHOUR_MAIL_FROM: is needed with FIRSTHOUR_SMTP_URL")
    monkeypatch.setenv("FIRSTHOUR_MAIL_FROM", "FirstHour <leads@example.com>")
    assert load().mail_from == "FirstHour <leads@example.com>"


def test_repr_of_settings_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "smtp://u:hunter2@mail.example.com")
    monkeypatch.setenv("FIRSTHOUR_MAIL_FROM", "leads@example.com")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY", "hunter2-" * 4)
    assert "hunter2" not in repr(load())


def test_slack_token_without_signing_secret_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SLACK_BOT_TOKEN", "xoxb-1234567890")
    [unsigned] = load().warnings()
    assert "have no buttons: FIRSTHOUR_SLACK_SIGNING_SECRET is not set" in unsigned


def test_slack_without_a_public_url_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_SLACK_BOT_TOKEN", "xoxb-1234567890")
    monkeypatch.setenv("FIRSTHOUR_SLACK_SIGNING_SECRET", "8f742231b10e8888abcd99yyyzzz85a5")
    [unreachable] = load().warnings()
    assert "have no buttons: FIRSTHOUR_PUBLIC_URL is an address of this machine" in unreachable
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "https://firsthour.example")
    assert load().warnings() == ()
    monkeypatch.delenv("FIRSTHOUR_PUBLIC_URL")
    monkeypatch.setenv("FIRSTHOUR_SLACK_APP_TOKEN", "xapp-1234567890")
    assert load().warnings() == ()


def test_mails_whose_links_lead_nowhere_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_MAIL_FROM", "leads@example.com")
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "smtp://127.0.0.1:25")
    assert load().warnings() == ()
    monkeypatch.setenv("FIRSTHOUR_SMTP_URL", "smtp://mail.example.com")
    [local] = load().warnings()
    assert "links in mails open on this machine alone" in local
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "https://firsthour.example")
    assert load().warnings() == ()


def test_environ_is_a_copy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_HOOK_SECRET", "s")
    copy = settings.environ()
    assert copy["FIRSTHOUR_HOOK_SECRET"] == "s"
    copy["FIRSTHOUR_HOOK_SECRET"] = "t"
    assert os.environ["FIRSTHOUR_HOOK_SECRET"] == "s"


def test_log_level_is_read_in_any_case_and_refused_if_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().log_level == "info"
    monkeypatch.setenv("FIRSTHOUR_LOG_LEVEL", "WARNING")
    assert load().log_level == "warning"
    monkeypatch.setenv("FIRSTHOUR_LOG_LEVEL", "loud")
    assert "FIRSTHOUR_LOG_LEVEL" in refused()


def test_error_of_kafka_prefix_has_no_regular_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_KAFKA_PREFIX", "a b")
    assert refused() == (
        "FIRSTHOUR_KAFKA_PREFIX: is not a prefix; give 1 to 100 letters, digits, dots, underscores and hyphens, such as firsthour."
    )
    assert not any(field.metadata and "pattern" in repr(field.metadata) for field in Settings.model_fields.values())
