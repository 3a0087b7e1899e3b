"""Checks of the channels that send pages: Slack, the mail server, and the hosts of webhooks."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Final
from urllib.parse import urlsplit

from aiosmtplib import SMTPException

from firsthour.kernel.config import Config
from firsthour.operations.doctor.finding import Finding
from firsthour.operations.doctor.slack_checks import slack
from firsthour.runtime.config import reading
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.http.public_hosts import PrivateAddressError, UnknownHostError, addresses_of
from firsthour.runtime.settings import Settings
from schemas.agreement.ways_out import WebhookWay
from services.notifier.channels.email import MailSettingsError, server

ANSWER_SECONDS: Final = 3.0


async def channels(settings: Settings) -> AsyncIterator[Finding]:
    """Yield the findings about each channel that is set up."""
    config = _config(settings)
    async for finding in slack(settings, config):
        yield finding
    if settings.smtp_url is not None:
        yield await _mail(settings.smtp_url.get_secret_value())
    for name, way in config.agreement.channels.items() if config is not None else ():
        if isinstance(way, WebhookWay) and isinstance(way.url, str):
            yield await webhook(name, way.url, settings.webhook_private_hosts)


async def webhook(name: str, url: str, private_hosts: Collection[str]) -> Finding:
    """Return whether the host of a webhook has addresses that may be connected to."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    remedy = f"correct `url` of {name} in agreement.yaml; its deliveries are tried for three days"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await addresses_of(host, parts.port or 443, private_allowed=host in private_hosts)
    except PrivateAddressError as error:
        return Finding(
            f"webhook {name}", "wrong", str(error), "name it in FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS if it is yours"
        )
    except (UnknownHostError, TimeoutError):
        return Finding(f"webhook {name}", "wrong", f"{host} has no address", remedy)
    return Finding(f"webhook {name}", "ok", f"{host} has an address")


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
