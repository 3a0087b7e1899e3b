"""Settings: where they come from, and what is refused."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.runtime import settings
from services.runtime.settings import Settings, SettingsError, load


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.exit_code == 2
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
    assert load().public_url == "https://leads.example.com/first"
    assert load().log_format == "json"


def test_what_the_command_line_says_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_DATA_DIR", "/env")
    assert load(data_dir=Path("/flag"), config_dir=None).data_dir == Path("/flag")
    assert load(data_dir=None).data_dir == Path("/env")


def test_a_secret_may_come_from_a_file_and_is_stripped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  a-very-secret-key\n")
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY_FILE", str(tmp_path / "key"))
    assert load().admin_key == SecretStr("a-very-secret-key")


def test_every_secret_may_come_from_a_file() -> None:
    assert set(settings.secret_fields()) == {
        "admin_key", "slack_bot_token", "slack_signing_secret", "smtp_url", "database_url",
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
        ("SLACK_BOT_TOKEN", "xoxb hunter2"),
        ("ADMIN_KEY", "hunter2"),
        ("ADMIN_KEY", "hunter2-mötley"),
        ("SMTP_URL", "mail.example.com:hunter2"),
        ("MAIL_FROM", "hunter2"),
        ("MAIL_FROM", "A <a@example.com>\nBcc: hunter2@example.com"),
        ("LOG_FORMAT", "hunter2"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_never_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FIRSTHOUR_{name}", value)
    message = refused()
    assert message.startswith(f"FIRSTHOUR_{name}: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["DATABASE_URL", "KAFKA_BOOTSTRAP"])
def test_what_comes_later_is_refused_now(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FIRSTHOUR_{name}", "postgresql://u:hunter2@db/x")
    assert refused() == (
        f"FIRSTHOUR_{name}: comes with the next release; unset it to run on the embedded database and log"
    )


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
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY", "hunter2-hunter2")
    assert "hunter2" not in repr(load())


def test_unwise_settings_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_ADMIN_KEY", "short-key")
    monkeypatch.setenv("FIRSTHOUR_SLACK_BOT_TOKEN", "xoxb-1234567890")
    short, unsigned = load().warnings()
    assert "ADMIN_KEY" in short
    assert "SLACK_SIGNING_SECRET" in unsigned


def test_the_environment_is_handed_out_as_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOUR_HOOK_SECRET", "s")
    copy = settings.environ()
    assert copy["FIRSTHOUR_HOOK_SECRET"] == "s"
    copy["FIRSTHOUR_HOOK_SECRET"] = "t"
    assert os.environ["FIRSTHOUR_HOOK_SECRET"] == "s"
