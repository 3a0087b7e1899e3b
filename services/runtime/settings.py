"""Settings from the environment: `FIRSTHOUR_*`, and `FIRSTHOUR_*_FILE` where the value is a secret.

The one place that reads `os.environ`. Everything else about FirstHour stands in the three configuration files.
"""

import os
import re
from email.utils import parseaddr
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "FIRSTHOUR_"
SECRET_BYTES_MAX = 64 * 1024


class SettingsError(Exception):
    """A setting is wrong. One line for each, naming the variable and the remedy."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """What differs between installations."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    config_dir: Path = Field(
        Path("config"), description="Directory of `agreement.yaml`, `team.yaml` and `sources.yaml`."
    )
    data_dir: Path = Field(
        Path("data"), description="Directory of the database, the lock and the address of a running process."
    )
    public_url: str = Field(
        "http://127.0.0.1:8080",
        description="Base URL under which others reach this installation; links in pages and signatures over URLs use it.",
    )
    admin_key: SecretStr | None = Field(
        None, description="An admin API key given from outside; without it, create keys by `firsthour keys create`."
    )
    slack_bot_token: SecretStr | None = Field(
        None, description="Bot token (`xoxb-...`) by which reps are paged in Slack; without it Slack is not used."
    )
    slack_signing_secret: SecretStr | None = Field(
        None, description="Signing secret of the Slack app; verifies that a pressed button comes from Slack."
    )
    slack_api_url: str = Field("https://slack.com/api/", description="Base URL of Slack's Web API.")
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server, `smtp://user:password@host:587` (STARTTLS if offered) or `smtps://...:465`; "
        "without it mail is not used.",
    )
    mail_from: str | None = Field(
        None, description="Sender of mails, `FirstHour <leads@example.com>`; needed with `FIRSTHOUR_SMTP_URL`."
    )
    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people.")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL instead of the embedded database. Comes with the next release; leave it unset."
    )
    kafka_bootstrap: str | None = Field(
        None, description="Apache Kafka instead of the embedded log. Comes with the next release; leave it unset."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the program itself passes, then the environment, then files the environment names. No `.env` file."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @field_validator("public_url", "slack_api_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = _split(value.strip(), {"http", "https"}, "http://host or https://host, with a path if need be")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("give the address alone, without user, query or fragment")
        return value.strip().rstrip("/")

    @field_validator("slack_api_url")
    @classmethod
    def _joinable(cls, value: str) -> str:
        return value + "/"  # so that a method's name can be joined to it

    @field_validator("admin_key", "slack_bot_token", "slack_signing_secret")
    @classmethod
    def _header_safe(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]{8,512}", value.get_secret_value()):
            raise ValueError("give 8 to 512 characters of plain ASCII without spaces")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _split(value.get_secret_value(), {"smtp", "smtps"}, "smtp://user:password@host:587 or smtps://...")
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        if value is not None and (not value.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(value)[1])):
            raise ValueError("give an address, like FirstHour <leads@example.com>")
        return value

    @field_validator("database_url", "kafka_bootstrap")
    @classmethod
    def _later(cls, value: object) -> object:
        if value is not None:
            raise ValueError("comes with the next release; unset it to run on the embedded database and log")
        return value

    @model_validator(mode="after")
    def _mail_is_whole(self) -> "Settings":
        if self.smtp_url and not self.mail_from:
            raise ValueError(f"{PREFIX}MAIL_FROM: is needed with {PREFIX}SMTP_URL; give an address mails come from")
        return self

    def warnings(self) -> tuple[str, ...]:
        """What is accepted but unwise, a line each."""
        found = []
        if self.admin_key and len(self.admin_key.get_secret_value()) < 32:
            found.append(f"{PREFIX}ADMIN_KEY is shorter than 32 characters: take `openssl rand -hex 32`")
        if self.slack_bot_token and not self.slack_signing_secret:
            found.append(f"{PREFIX}SLACK_SIGNING_SECRET is not set: buttons in Slack will be refused")
        return tuple(found)


def _split(value: str, schemes: set[str], example: str) -> SplitResult:
    """The parts of a URL that names a host. The message never repeats the value: it may hold a password."""
    try:
        parts = urlsplit(value)
        whole = parts.scheme in schemes and bool(parts.hostname) and value.isprintable() and " " not in value
        if whole and (parts.port is None or parts.port > 0):
            return parts
    except ValueError:  # a port out of range, a broken IPv6 address
        pass
    raise ValueError(f"give {example}")


def secret_fields() -> tuple[str, ...]:
    """Names of the fields that may be given as `FIRSTHOUR_<NAME>_FILE` too."""
    return tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)


class _SecretFiles(PydanticBaseSettingsSource):
    """The content of the file that `FIRSTHOUR_<NAME>_FILE` names, for secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name}_FILE".upper()
        path = os.environ.get(variable, "")
        if not path:
            return None, field_name, False
        if os.environ.get(f"{PREFIX}{field_name}".upper()):
            raise SettingsError((f"{variable}: the same secret is given directly as well; keep one of the two",))
        return _read(variable, path), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(fields[name], name)[0] for name in secret_fields()}
        return {name: value for name, value in values.items() if value is not None}


def _read(variable: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX).decode().strip()
    except OSError as error:
        raise SettingsError((f"{variable}: {path}: {error.strerror}; name a file this user can read",)) from None
    except ValueError:
        raise SettingsError((f"{variable}: {path}: is not UTF-8 text; store the secret as text",)) from None
    if not content:
        raise SettingsError((f"{variable}: {path}: is empty; put the secret into it",))
    return content


def load(**given: object) -> Settings:
    """The settings in force; `given` (by field name, None = not given) goes before the environment. Raises `SettingsError`."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # pydantic judges them
    except ValidationError as error:
        raise SettingsError(tuple(_line(e["loc"], e["msg"]) for e in error.errors(include_input=False))) from None


def _line(loc: tuple[int | str, ...], message: str) -> str:
    said = message.removeprefix("Value error, ")
    return f"{PREFIX}{str(loc[0]).upper()}: {said}" if loc else said


def environ() -> dict[str, str]:
    """A copy of the environment, for secrets that the configuration files name."""
    return dict(os.environ)
