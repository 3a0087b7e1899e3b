"""Settings from the environment: `FIRSTHOUR_*`, and `FIRSTHOUR_*_FILE` for secrets.

Only this module reads `os.environ`. All other configuration is in the three files.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from firsthour.runtime import addresses
from firsthour.runtime.setting_types import (
    AdminKey,
    ApiAddress,
    AuthoritiesFile,
    Brokers,
    Database,
    HeaderSecret,
    HeartbeatAddress,
    Hosts,
    KafkaPrefix,
    LowerCase,
    MailSender,
    MailServer,
    Networks,
    RolePrefix,
    WebAddress,
)
from firsthour.runtime.value_faults import value_fault
from schemas.errors import FirstHourError

PREFIX = "FIRSTHOUR_"
SECRET_BYTES_MAX = 64 * 1024
CLOCK_SKEW_SECONDS = 300


class SettingsError(FirstHourError):
    """Raised for invalid settings. `problems`: one line for each, with the variable and the remedy."""

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
    public_url: WebAddress = Field(
        "http://127.0.0.1:8080",
        description="Public base URL of this installation, used in the links of pages and in signatures over URLs.",
    )
    admin_key: AdminKey = Field(
        None, description="An admin API key; without it, create keys with `firsthour keys create`."
    )
    slack_bot_token: HeaderSecret = Field(
        None,
        description="Bot token (`xoxb-...`) of the Slack app, for the gateway and the notifier; without it, Slack is not used.",
    )
    slack_signing_secret: HeaderSecret = Field(
        None,
        description="Signing secret of the Slack app, which verifies clicks and commands; without it, messages have no buttons.",
    )
    slack_app_token: HeaderSecret = Field(
        None,
        description="App-level token (`xapp-...`) for Socket Mode: the notifier opens the connection, so Slack need not reach this installation.",
    )
    slack_api_url: ApiAddress = Field(
        "https://slack.com/api/", description="Base URL of Slack's Web API; plain http is allowed only to this machine."
    )
    smtp_url: MailServer = Field(
        None,
        description="Mail server, `smtp://user:password@host:587` (STARTTLS if offered) or `smtps://...:465`; "
        "without it, mail is not used.",
    )
    mail_from: MailSender = Field(
        None, description="Sender of mails, `FirstHour <leads@example.com>`; needed with `FIRSTHOUR_SMTP_URL`."
    )
    pagerduty_url: ApiAddress = Field(
        "https://events.pagerduty.com/",
        description="Base URL of PagerDuty's Events API, of which there is one for the service region of Europe; plain http is "
        "allowed only to this machine.",
    )
    oidc_client_secret: HeaderSecret = Field(
        None,
        description="Secret of this installation at the provider that `sign_in` of `team.yaml` names; without it, it signs in as a "
        "public client.",
    )
    webhook_private_hosts: Hosts = Field(
        (),
        description="Hosts on your own network that webhooks of the agreement and fetches of sources may reach, "
        "`crm.internal,10.0.0.5`; all other private addresses are refused.",
    )
    connections_max: int = Field(
        1_000,
        ge=10,
        le=100_000,
        description="Open connections of a process at most. A further one replaces the connection that has been idle for "
        "longest, then the one whose body has been arriving for longest, or is answered 503.",
    )
    trusted_proxies: Networks = Field(
        "127.0.0.1,::1",
        validate_default=True,
        description="Addresses or networks of your proxies, `10.0.0.5,172.18.0.0/16`: the address of a client behind them is read "
        "from `X-Forwarded-For`. The flood guard needs it.",
    )
    form_posts_per_minute: int = Field(
        3_000,
        ge=1,
        description="Posts of forms that a gateway accepts from one client address, and for one mail domain, in a minute; further "
        "ones are answered 429.",
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
    heartbeat_url: HeartbeatAddress = Field(
        None,
        description="URL that the notifier calls (GET) each minute while its audit works: that of a service outside that raises "
        "the alarm when the call stays away.",
    )
    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people.")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], LowerCase] = Field(
        "info", description="The lowest level that is logged: `debug`, `info`, `warning` or `error`."
    )
    database_url: Database = Field(
        None,
        description="PostgreSQL 15 or newer, `postgresql://user:password@host:5432/database?sslmode=verify-full` (`sslmode`: "
        "disable, prefer, require, verify-ca, verify-full; `sslrootcert=FILE` for an authority of your own); "
        "with `FIRSTHOUR_KAFKA_BOOTSTRAP` it replaces the embedded database.",
    )
    database_role_prefix: RolePrefix = Field(
        "firsthour_",
        description="Prefix of the roles of services in PostgreSQL, as in `firsthour_router`; `firsthour migrate` grants the "
        "rights of each role that exists.",
    )
    kafka_bootstrap: Brokers = Field(
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
    kafka_ca_file: AuthoritiesFile = Field(
        None,
        description="PEM file with the certificate authorities of the brokers; without it, those of the system.",
    )
    kafka_prefix: KafkaPrefix = Field(
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
        """Return the sources by precedence: arguments of the program, the environment, files that the environment names.

        No `.env` file is read.
        """
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @model_validator(mode="after")
    def _mail_is_whole(self) -> "Settings":
        if self.smtp_url and not self.mail_from:
            raise ValueError(f"{PREFIX}MAIL_FROM: is needed with {PREFIX}SMTP_URL; set it to the sender of mails")
        return self

    @model_validator(mode="after")
    def _one_profile(self) -> "Settings":
        if (self.database_url is None) != (self.kafka_bootstrap is None):
            missing, present = "DATABASE_URL", "KAFKA_BOOTSTRAP"
            if self.kafka_bootstrap is None:
                missing, present = present, missing
            raise ValueError(
                f"{PREFIX}{missing}: is needed with {PREFIX}{present}; set both, or neither to run embedded in one process"
            )
        return self

    @model_validator(mode="after")
    def _kafka_is_whole(self) -> "Settings":
        signs_in = self.kafka_security_protocol.startswith("SASL_")
        for name in ("kafka_sasl_mechanism", "kafka_username", "kafka_password"):
            variable, is_set = f"{PREFIX}{name.upper()}", getattr(self, name) is not None
            if is_set and not signs_in:
                raise ValueError(
                    f"{variable}: needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT; set that, or unset this"
                )
            if signs_in and not is_set:
                raise ValueError(
                    f"{variable}: is needed with {PREFIX}KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}; set it"
                )
        if self.kafka_ca_file is not None and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError(
                f"{PREFIX}KAFKA_CA_FILE: needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL; set that, or unset this"
            )
        return self

    @property
    def distributed(self) -> bool:
        """Whether the installation runs over Kafka and PostgreSQL; otherwise embedded in one process."""
        return self.database_url is not None and self.kafka_bootstrap is not None

    def slack_obstacle(self) -> str | None:
        """Return why clicks in Slack cannot reach this installation, with the remedy; None: they can."""
        if self.slack_app_token:
            return None
        if not self.slack_signing_secret:
            return f"{PREFIX}SLACK_SIGNING_SECRET is not set; set it to the signing secret of the Slack app"
        if addresses.is_loopback(urlsplit(self.public_url).hostname or ""):
            return f"{PREFIX}PUBLIC_URL is an address of this machine; set it to one that Slack can reach"
        return None

    def _mails_lead_nowhere(self) -> bool:
        """Return whether mails leave this machine while their links do not."""
        mail_server = urlsplit(self.smtp_url.get_secret_value()).hostname if self.smtp_url else None
        public = urlsplit(self.public_url).hostname or ""
        return mail_server is not None and not addresses.is_loopback(mail_server) and addresses.is_loopback(public)

    def warnings(self) -> tuple[str, ...]:
        """Return a line for each valid but unwise setting."""
        lines = []
        if self.slack_bot_token and (obstacle := self.slack_obstacle()):
            lines.append(f"messages in Slack have no buttons: {obstacle}")
        if self._mails_lead_nowhere():
            lines.append(
                f"links in mails open on this machine alone: {PREFIX}PUBLIC_URL is an address of it; set it to one that "
                "every rep can reach"
            )
        if self.kafka_security_protocol == "SASL_PLAINTEXT":
            lines.append(f"{PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT sends events unencrypted; use SASL_SSL")
        return tuple(lines)


def secret_fields() -> tuple[str, ...]:
    """Return the names of the fields that can also be set as `FIRSTHOUR_<NAME>_FILE`."""
    return tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from the files that `FIRSTHOUR_<NAME>_FILE` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name}_FILE".upper()
        path = os.environ.get(variable, "")
        if not path:
            return None, field_name, False
        if os.environ.get(f"{PREFIX}{field_name}".upper()):
            raise SettingsError((f"{variable}: the secret is also set without a file; keep one of the two",))
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


def load(**arguments: object) -> Settings:
    """Return the settings. Raises `SettingsError`.

    `arguments` replace values of the environment, by the name of the field. None: the environment decides.
    """
    try:
        return Settings(**{name: value for name, value in arguments.items() if value is not None})  # type: ignore[arg-type]  # pydantic validates them
    except ValidationError as error:
        raise SettingsError(tuple(_line(fault) for fault in error.errors(include_input=False))) from None


def _line(error: ErrorDetails) -> str:
    fault = value_fault(error)
    return f"{PREFIX}{str(error['loc'][0]).upper()}: {fault}" if error["loc"] else str(fault)


def environ() -> dict[str, str]:
    """Return a copy of the environment, for the secrets that the configuration files name."""
    return dict(os.environ)
