"""The channels by name: those of the settings, and those that the agreement in force names.

Secrets are read from the environment of this process and never stored. A channel whose secret is missing stays known by its
name: each page over it fails with the reason, and goes over the next channel of its rung.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import EPOCH
from firsthour.runtime import addresses
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.documents import ConfigProblem
from firsthour.runtime.config.source_secrets import SecretError, UnusableSecretError
from firsthour.runtime.settings import Settings, environ
from schemas.agreement.ways_out import AppriseWay, PagerDutyWay, WayOut, WebhookWay, can_be_called
from schemas.verification import Secret
from services.notifier.channels.apprise import SHAPE, AppriseChannel, loading
from services.notifier.channels.base import Channel, Outcome, Unusable
from services.notifier.channels.pagerduty import PagerDutyChannel
from services.notifier.channels.teams import TeamsChannel
from services.notifier.channels.webhook import WebhookChannel
from services.notifier.domain.message import Message

Read = Callable[[Secret], str]
"""Returns the value of a secret, or raises `SecretError`."""
NAMED_MAX: Final = 5
_ROUTING_KEY: Final = re.compile(r"[A-Za-z0-9]{20,64}")
_NOWHERE: Final = ("agreement.yaml", 1, 1)


def _never() -> datetime:
    """Return the beginning of time: for a channel that is only checked."""
    return EPOCH


@dataclass(frozen=True)
class BrokenChannel:
    """Stands for a channel that cannot be opened in this process. `why` names the remedy."""

    name: str
    why: str

    async def send(self, message: Message) -> Outcome:
        return Unusable(self.why)

    async def close(self) -> None:
        """Do nothing: no connection is open."""


@dataclass
class Ways:
    """The channels of this process. Those of the agreement are made anew when it or a secret in a file changes.

    A channel of the agreement keeps no connection, so a page on its way over the one before is not disturbed.
    """

    built_in: Mapping[str, Channel]
    settings: Settings
    now: Callable[[], datetime]  # real time
    _named: dict[str, Channel] = field(default_factory=dict)
    _config: Config | None = None
    _stamps: tuple[object, ...] = ()

    def prepare(self, config: Config) -> None:
        """Begin to load what the first page over a channel of the agreement would wait for."""
        if _has_apprise(config):
            loading()

    async def prepared(self, config: Config) -> None:
        """Prepare, and wait until that is done."""
        if _has_apprise(config):
            await asyncio.wrap_future(loading())

    def get(self, name: str, config: Config) -> Channel | None:
        """Return the channel of this name; None: neither the settings nor the agreement have it."""
        if name in self.built_in:
            return self.built_in[name]
        self._refresh(config)
        return self._named.get(name)

    def _refresh(self, config: Config) -> None:
        environment = environ()
        stamps = _stamps(config, environment)  # before the files are read, so that a later change is noticed
        if config is self._config and stamps == self._stamps:
            return
        read = partial(source_secrets.resolve, environ=environment, directory=config.directory)
        self._named = {name: self._opened(name, way, read) for name, way in config.agreement.channels.items()}
        self._config, self._stamps = config, stamps

    def _opened(self, name: str, way: WayOut, read: Read) -> Channel:
        try:
            return open_channel(name, way, read, self.settings, self.now)
        except SecretError as error:
            return BrokenChannel(name, f"{name}: {error}")


def open_channel(
    name: str, way: WayOut, read: Read, settings: Settings, now: Callable[[], datetime] = _never
) -> Channel:
    """Return the channel. Raises `SecretError` if a secret is missing or has the wrong form."""
    if isinstance(way, WebhookWay):
        url = way.url if isinstance(way.url, str) else url_of(way.url, read)
        keys = [_signing(secret, read) for secret in way.secret]
        return WebhookChannel(name, url, keys, now, settings.webhook_private_hosts)
    if isinstance(way, PagerDutyWay):
        key, remedy = _routing_key(way.routing_key, read), f"set {_named(way.routing_key)} to the integration key"
        return PagerDutyChannel(name, key, remedy, settings.pagerduty_url)
    if isinstance(way, AppriseWay):
        value = read(way.url)
        if not SHAPE.fullmatch(value):
            raise UnusableSecretError(f"the value of {_named(way.url)} is no URL of apprise", "write scheme://...")
        return AppriseChannel(name, value, _named(way.url))
    return TeamsChannel(name, url_of(way.url, read), f"make a new one and set {_named(way.url)} to its URL")


def problems(config: Config, environment: Mapping[str, str], settings: Settings) -> Iterator[str]:
    """Yield one line for each channel of the agreement that cannot be opened with this environment."""
    read = partial(source_secrets.resolve, environ=environment, directory=config.directory)
    for name, way in config.agreement.channels.items():
        try:
            channel = open_channel(name, way, read, settings)
            if isinstance(channel, AppriseChannel):
                yield from _without(config, name, channel)
        except SecretError as error:
            place = config.channel_places.get(name, _NOWHERE)
            yield str(ConfigProblem(*place, f"nothing is sent over {name}: {error.mistake}", error.remedy))


def _has_apprise(config: Config) -> bool:
    return any(isinstance(way, AppriseWay) for way in config.agreement.channels.values())


def _without(config: Config, name: str, channel: AppriseChannel) -> Iterator[str]:
    """Yield the active reps whom the channel cannot reach, in one line."""
    without = [rep.id for rep in config.team.reps if rep.active and channel.lacks(rep.phone or "", rep.email)]
    if without:
        more = f" and {len(without) - NAMED_MAX} more" if len(without) > NAMED_MAX else ""
        yield f"{name} cannot reach {', '.join(without[:NAMED_MAX])}{more}: add `phone` in team.yaml"


def _stamps(config: Config, environment: Mapping[str, str]) -> tuple[object, ...]:
    """Return a stamp of each file with a secret, which changes when the file is created, removed or written."""
    places = [secret for way in config.agreement.channels.values() for secret in way.secrets]
    files = [source_secrets.file_of(secret, environment, config.directory) for secret in places]
    return tuple(source_secrets.stamp(path) for path in files if path is not None)


def url_of(secret: Secret, read: Read) -> str:
    """Return the web address that is a secret. Raises `SecretError` if it is missing, or cannot be called."""
    value = read(secret)
    try:
        parts = addresses.split(value, {"http", "https"}, "https://host/path")
    except ValueError as error:
        raise UnusableSecretError(
            f"the value of {_named(secret)} {error}".partition(";")[0], "copy the URL again"
        ) from None
    if not can_be_called(value):
        raise UnusableSecretError(f"the value of {_named(secret)} is no URL that can be called", "copy the URL again")
    if parts.scheme == "http" and not addresses.is_loopback(parts.hostname or ""):
        raise UnusableSecretError(f"the URL in {_named(secret)} is plain http", "give one that begins with https://")
    return value


def _routing_key(secret: Secret, read: Read) -> str:
    value = read(secret)
    if not _ROUTING_KEY.fullmatch(value):
        remedy = "copy the integration key of an Events API v2 integration in PagerDuty"
        raise UnusableSecretError(f"the value of {_named(secret)} is no routing key", remedy)
    return value


def _signing(secret: Secret, read: Read) -> str:
    value = read(secret)
    try:
        source_secrets.check(value, source_secrets.STANDARD)
    except UnusableSecretError as error:
        remedy = f"set {_named(secret)} to `whsec_` and the output of `openssl rand -base64 32`"
        raise UnusableSecretError(f"the secret {_named(secret)} cannot sign: {error.mistake}", remedy) from None
    return value


def _named(secret: Secret) -> str:
    return secret.env or secret.file or ""
