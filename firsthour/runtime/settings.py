"""Settings from the environment: `FIRSTHOUR_*`, and `FIRSTHOUR_*_FILE` for secrets.

This is the only module that reads `os.environ`. All other configuration is in the three files.
"""

import difflib
import os
import re
from collections.abc import Collection, Iterable
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from firsthour.runtime import addresses
from schemas.errors import FirstHourError
from schemas.values import shown

PREFIX = "FIRSTHOUR_"
_STEM = "FIRST"  # of a misspelt prefix, such as FIRST_HOUR_ or FIRSTHOR_
SECRET_BYTES_MAX = 64 * 1024
_ROLE_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_KAFKA_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NEAR = 0.75  # similarity of two names from which one is suggested for the other
CLOCK_SKEW_SECONDS = 300


class SettingsError(FirstHourError):
    """Raised for invalid settings. One line for each, with the variable and the remedy."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """The settings of an installation."""

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
        description="Public base URL of this installation, used in the links of pages and in signatures over URLs.",
    )
    admin_key: SecretStr | None = Field(
        None, description="An admin API key; without it, create keys with `firsthour keys create`."
    )
    slack_bot_token: SecretStr | None = Field(
        None, description="Bot token (`xoxb-...`) for paging reps in Slack; without it, Slack is not used."
    )
    slack_signing_secret: SecretStr | None = Field(
        None, description="Signing secret of the Slack app, which verifies requests from Slack."
    )
    slack_api_url: str = Field(
        "https://slack.com/api/", description="Base URL of Slack's Web API; plain http is allowed only to this machine."
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server, `smtp://user:password@host:587` (STARTTLS if offered) or `smtps://...:465`; "
        "without it, mail is not used.",
    )
    mail_from: str | None = Field(
        None, description="Sender of mails, `FirstHour <leads@example.com>`; needed with `FIRSTHOUR_SMTP_URL`."
    )
    connections_max: int = Field(
        1_000,
        ge=10,
        le=100_000,
        description="Open connections of a process at most. A further one replaces the connection that has been idle for "
        "longest, or is answered 503.",
    )
    keys_age_seconds_max: int = Field(
        14_400,
        ge=10,
        description="How long API keys stay valid after they were read, while the database cannot be reached. This includes "
        "a key that is revoked meanwhile. Afterwards requests with a key are answered 503.",
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port that answers only `/metrics`, without a key: for a network that only the monitoring can reach. "
        "Without this setting, `/metrics` needs a key of any role except `ingest`.",
    )
    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged: `debug`, `info`, `warning` or `error`."
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15 or newer, `postgresql://user:password@host:5432/database?sslmode=verify-full` (`sslmode`: "
        "disable, prefer, require, verify-ca, verify-full; `sslrootcert=FILE` for an authority of your own); "
        "with `FIRSTHOUR_KAFKA_BOOTSTRAP` it replaces the embedded database.",
    )
    database_role_prefix: str = Field(
        "firsthour_",
        description="Prefix of the roles of services in PostgreSQL, as in `firsthour_router`; `firsthour migrate` grants the "
        "rights of each role that exists.",
    )
    kafka_bootstrap: str | None = Field(
        None,
        description="Brokers of Apache Kafka, `host:9092,host:9092`; "
        "with `FIRSTHOUR_DATABASE_URL` it replaces the embedded log.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the brokers: SSL encrypts, SASL authenticates."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`."
    )
    kafka_username: str | None = Field(None, description="User name for Kafka.")
    kafka_password: SecretStr | None = Field(None, description="The password of `FIRSTHOUR_KAFKA_USERNAME`.")
    kafka_ca_file: Path | None = Field(
        None,
        description="PEM file with the certificate authorities of the brokers; without it, those of the system.",
    )
    kafka_prefix: str = Field(
        "firsthour.",
        description="Prefix of topic and consumer group names, so that installations can share brokers.",
    )
    kafka_partitions: int = Field(
        12,
        ge=1,
        le=1000,
        description="Partitions of a topic that `firsthour migrate` creates: the number of replicas of a service that can "
        "work at once. Do not change it later: the records of a lead would change partitions.",
    )
    kafka_replication: int | None = Field(
        None,
        ge=1,
        le=10,
        description="Replicas of each partition; without it three, or one per broker if there are fewer.",
    )
    spool_bytes_max: int = Field(
        1024**3,
        ge=1024**2,
        description="Bytes of events that a gateway keeps at most in its data directory while Kafka does not answer.",
    )
    deadletter_days: int = Field(
        30, ge=1, le=3660, description="Days for which dead letters are kept, including dropped and retried ones."
    )
    deadletter_bytes_max: int = Field(
        64 * 1024**2,
        ge=1024**2,
        description="Bytes of dead letters that are kept per source (or per service that failed); beyond that the oldest are "
        "dropped, the posts of robots first.",
    )
    database_bytes_max: int = Field(
        4 * 1024**3,
        ge=1024**2,
        description="Embedded: when the database file holds more bytes, records of the log go as soon as every service has "
        "read them instead of after 7 days, and `/readyz` warns.",
    )

    clock_skew_seconds: int = Field(
        CLOCK_SKEW_SECONDS,
        ge=0,
        le=86_400,
        description="How many seconds the clock of a sender may be slow: a touch that long before the submit still counts.",
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
        """Arguments of the program first, then the environment, then the files that it names. No `.env` file is read."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @field_validator("log_level", mode="before")
    @classmethod
    def _level(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("kafka_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if not _KAFKA_PREFIX.fullmatch(value):
            raise ValueError("give 1 to 100 letters, digits, dots, underscores and hyphens, such as firsthour.")
        return value

    @field_validator("database_role_prefix")
    @classmethod
    def _role_prefix(cls, value: str) -> str:
        if not _ROLE_PREFIX.fullmatch(value):
            raise ValueError("give 1 to 40 lower-case letters, digits and underscores, such as firsthour_")
        return value

    @field_validator("public_url", "slack_api_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = addresses.split(value.strip(), {"http", "https"}, "http://host or https://host, with a path if need be")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("give the address alone, without user, query or fragment")
        return value.strip().rstrip("/")

    @field_validator("slack_api_url")
    @classmethod
    def _joinable(cls, value: str) -> str:
        parts = addresses.split(value, {"http", "https"}, "https://host")
        if parts.scheme == "http" and not addresses.is_loopback(parts.hostname or ""):
            raise ValueError("give https://: over plain http the token could be read on the way")
        return value + "/"  # so that the name of a method can be appended

    @field_validator("admin_key")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]{32,512}", value.get_secret_value()):
            raise ValueError(
                "give 32 to 512 characters of plain ASCII without spaces; `openssl rand -hex 32` makes a key"
            )
        return value

    @field_validator("slack_bot_token", "slack_signing_secret")
    @classmethod
    def _header_safe(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]{8,512}", value.get_secret_value()):
            raise ValueError("give 8 to 512 characters of plain ASCII without spaces")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            addresses.split(value.get_secret_value(), {"smtp", "smtps"}, "smtp://user:password@host:587 or smtps://...")
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        if value is not None and (not value.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(value)[1])):
            raise ValueError("give an address, like FirstHour <leads@example.com>")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            addresses.postgres(value.get_secret_value())
        return value

    @field_validator("kafka_bootstrap")
    @classmethod
    def _brokers(cls, value: str | None) -> str | None:
        if value is None:
            return None
        addresses.brokers(value)
        return ",".join(one.strip() for one in value.split(","))

    @field_validator("kafka_ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            addresses.authorities(value)
        return value

    @model_validator(mode="after")
    def _mail_is_whole(self) -> "Settings":
        if self.smtp_url and not self.mail_from:
            raise ValueError(f"{PREFIX}MAIL_FROM: is needed with {PREFIX}SMTP_URL; give an address mails come from")
        return self

    @model_validator(mode="after")
    def _one_profile(self) -> "Settings":
        if (self.database_url is None) != (self.kafka_bootstrap is None):
            missing, given = "DATABASE_URL", "KAFKA_BOOTSTRAP"
            if self.kafka_bootstrap is None:
                missing, given = given, missing
            raise ValueError(
                f"{PREFIX}{missing}: is needed with {PREFIX}{given}; set both, or neither to run embedded in one process"
            )
        return self

    @model_validator(mode="after")
    def _kafka_is_whole(self) -> "Settings":
        signs_in = self.kafka_security_protocol.startswith("SASL_")
        for name in ("kafka_sasl_mechanism", "kafka_username", "kafka_password"):
            variable, given = f"{PREFIX}{name.upper()}", getattr(self, name) is not None
            if given and not signs_in:
                raise ValueError(
                    f"{variable}: needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT, or unset it"
                )
            if signs_in and not given:
                raise ValueError(
                    f"{variable}: is needed with {PREFIX}KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}; set it"
                )
        if self.kafka_ca_file is not None and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError(
                f"{PREFIX}KAFKA_CA_FILE: needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL, or unset it"
            )
        return self

    @property
    def distributed(self) -> bool:
        """Whether the installation runs over Kafka and PostgreSQL; otherwise embedded in one process."""
        return self.database_url is not None and self.kafka_bootstrap is not None

    def warnings(self) -> tuple[str, ...]:
        """Return a line for each valid but unwise setting."""
        found = []
        if self.slack_bot_token and not self.slack_signing_secret:
            found.append(f"{PREFIX}SLACK_SIGNING_SECRET is not set: buttons in Slack will be refused")
        if self.kafka_security_protocol == "SASL_PLAINTEXT":
            found.append(f"{PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT sends events unencrypted: take SASL_SSL")
        return tuple(found)


def secret_fields() -> tuple[str, ...]:
    """Return the names of the fields that can also be given as `FIRSTHOUR_<NAME>_FILE`."""
    return tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from the files that `FIRSTHOUR_<NAME>_FILE` names."""

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
    """Return the settings. `given`: by field name, before the environment; None: not given. Raises `SettingsError`."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # pydantic validates them
    except ValidationError as error:
        raise SettingsError(tuple(_line(e["loc"], e["msg"]) for e in error.errors(include_input=False))) from None


def _line(loc: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{PREFIX}{str(loc[0]).upper()}: {text}" if loc else text


def variables() -> tuple[str, ...]:
    """Return the names of all variables that are read."""
    names = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    return (*names, *(f"{PREFIX}{name.upper()}_FILE" for name in secret_fields()))


def unknown_variables(environment: Iterable[str], also: Collection[str] = ()) -> tuple[str, ...]:
    """Return a warning for each variable that looks like a setting but is none. `also`: names used by `sources.yaml`."""
    known = variables()
    found = []
    for name in sorted(set(environment)):
        upper = name.upper()
        if upper in known or name in also:
            continue
        near = difflib.get_close_matches(upper, known, n=1, cutoff=_NEAR)
        if upper.startswith(PREFIX):
            remedy = f"did you mean {near[0]}?" if near else "unset it; the settings are listed in the README"
            found.append(f"{shown(name)} is not a setting and has no effect; {remedy}")
        elif near and upper.startswith(_STEM):
            found.append(f"{shown(name)} has no effect; did you mean {near[0]}?")
    return tuple(found)


def environ() -> dict[str, str]:
    """Return a copy of the environment, for the secrets that the configuration files name."""
    return dict(os.environ)
