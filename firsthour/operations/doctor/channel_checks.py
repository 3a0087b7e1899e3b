"""Checks of the channels that send pages: Slack and the mail server."""

from collections.abc import AsyncIterator
from typing import Final

from aiosmtplib import SMTPException

from firsthour.kernel.config import Config
from firsthour.operations.doctor.finding import Finding
from firsthour.operations.doctor.slack_checks import slack
from firsthour.runtime.config import reading
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.settings import Settings
from services.notifier.channels.email import MailSettingsError, server

ANSWER_SECONDS: Final = 3.0


async def channels(settings: Settings) -> AsyncIterator[Finding]:
    """Yield the findings about each channel that is set up."""
    async for finding in slack(settings, _config(settings)):
        yield finding
    if settings.smtp_url is not None:
        yield await _mail(settings.smtp_url.get_secret_value())


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
