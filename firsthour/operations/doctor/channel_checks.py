"""Checks of the channels that send pages: Slack, the mail server, the hosts of webhooks and the services of `apprise`."""

import asyncio
from collections.abc import AsyncIterator, Collection
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from aiosmtplib import SMTPException

from firsthour.kernel.config import Config
from firsthour.operations.doctor.finding import Finding
from firsthour.operations.doctor.slack_checks import slack
from firsthour.runtime.config import reading, source_secrets
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.config.source_secrets import SecretError
from firsthour.runtime.http.public_hosts import PrivateAddressError, UnknownHostError, addresses_of
from firsthour.runtime.settings import Settings, environ
from schemas.agreement.ways_out import AppriseWay, TeamsWay, WebhookWay
from schemas.verification import Secret
from services.notifier.channels.apprise import is_known
from services.notifier.channels.email import MailSettingsError, server
from services.notifier.ways import url_of

ANSWER_SECONDS: Final = 3.0


async def channels(settings: Settings) -> AsyncIterator[Finding]:
    """Yield the findings about each channel that is set up."""
    config = _config(settings)
    async for finding in slack(settings, config):
        yield finding
    if settings.smtp_url is not None:
        yield await _mail(settings.smtp_url.get_secret_value())
    for name, way in config.agreement.channels.items() if config is not None else ():
        if config is not None and isinstance(way, WebhookWay):
            yield await webhook(name, way, config, settings.webhook_private_hosts)
        elif config is not None and isinstance(way, TeamsWay):
            yield await teams(name, way, config)
        elif config is not None and isinstance(way, AppriseWay):
            yield await apprise(name, way, config)


async def webhook(name: str, way: WebhookWay, config: Config, private_hosts: Collection[str]) -> Finding:
    """Return whether the host of a webhook has addresses that may be connected to."""
    what, place = f"webhook {name}", f"`url` of {name} in agreement.yaml"
    if isinstance(way.url, str):
        return await _host(what, way.url, (urlsplit(way.url).hostname or "").lower(), place, private_hosts)
    return await _secret_host(what, way.url, config, private_hosts)


async def teams(name: str, way: TeamsWay, config: Config) -> Finding:
    """Return whether the host of a workflow has an address."""
    return await _secret_host(f"channel {name}", way.url, config, None)


async def _secret_host(what: str, secret: Secret, config: Config, private_hosts: Collection[str] | None) -> Finding:
    """Look up the host of an address that is a secret. The finding names the place of the secret, not the host."""
    place = secret.env or secret.file or ""
    try:
        url = url_of(secret, partial(source_secrets.resolve, environ=environ(), directory=config.directory))
    except SecretError as error:
        return Finding(what, "warning", error.mistake, error.remedy)
    return await _host(what, url, f"the host of the URL in {place}", place, private_hosts)


async def _host(what: str, url: str, named: str, place: str, private_hosts: Collection[str] | None) -> Finding:
    """Look up the host of an address. `named`: the host in the finding. `private_hosts` None: every address is allowed."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    is_allowed = private_hosts is None or host in private_hosts
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await addresses_of(host, parts.port or 443, private_allowed=is_allowed)
    except PrivateAddressError as error:
        return Finding(what, "wrong", str(error), "name it in FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS if it is yours")
    except (UnknownHostError, TimeoutError):
        return Finding(what, "wrong", f"{named} has no address", f"correct {place}; its deliveries are tried again")
    return Finding(what, "ok", f"{named} has an address")


async def apprise(name: str, way: AppriseWay, config: Config) -> Finding:
    """Return whether the `apprise` library knows the service of the URL."""
    what, place = f"channel {name}", way.url.env or way.url.file or ""
    try:
        url = source_secrets.resolve(way.url, environ(), config.directory)
    except SecretError as error:
        return Finding(what, "warning", error.mistake, error.remedy)
    if not await asyncio.to_thread(is_known, url):  # loading the library takes a second
        return Finding(what, "wrong", f"apprise knows no service of the URL in {place}", "correct it")
    return Finding(what, "ok", "apprise knows the service of its URL")


def _config(settings: Settings) -> Config | None:
    """Return the configuration of the files. None: there are none here, or another check reports them."""
    try:
        return reading.load(settings.config_dir) if settings.config_dir.is_dir() else None
    except ConfigError:
        return None


async def _mail(url: str) -> Finding:
    try:
        smtp = server(url)
    except MailSettingsError as error:
        return Finding("mail", "wrong", str(error), "correct the setting")
    connection = smtp.connection(ANSWER_SECONDS, "localhost")
    try:
        await connection.connect()
        await connection.ehlo()
    except (SMTPException, OSError, TimeoutError) as error:
        remedy = "check host, port, user and password in FIRSTHOUR_SMTP_URL"
        return Finding("mail", "wrong", f"{smtp.host}:{smtp.port} accepts no mail ({type(error).__name__})", remedy)
    finally:
        connection.close()
    return Finding("mail", "ok", f"{smtp.host}:{smtp.port} answers")
