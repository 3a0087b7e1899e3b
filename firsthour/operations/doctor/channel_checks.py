"""Checks of the channels that send pages: Slack and the mail server."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from aiosmtplib import SMTPException

from firsthour.operations.doctor.finding import Finding
from firsthour.runtime.http.client import Endpoint, NoAnswerError
from firsthour.runtime.settings import Settings
from services.notifier.channels.email import MailSettingsError, server

ANSWER_SECONDS: Final = 3.0
SLACK_SCOPE: Final = "chat:write"


class _SlackReply(msgspec.Struct):
    ok: bool
    error: str = ""


async def channels(settings: Settings) -> AsyncIterator[Finding]:
    """Yield one finding for each channel that is set up."""
    if settings.slack_bot_token is not None:
        yield await _slack(settings.slack_api_url, settings.slack_bot_token.get_secret_value())
    if settings.smtp_url is not None:
        yield await _mail(settings.smtp_url.get_secret_value())


async def _slack(url: str, token: str) -> Finding:
    endpoint = Endpoint(url, ANSWER_SECONDS, headers={"authorization": f"Bearer {token}"})
    try:
        answer = await endpoint.post_json("auth.test", b"{}")
    except NoAnswerError as error:
        remedy = "let this host reach FIRSTHOUR_SLACK_API_URL; until then pages use the next channel"
        return Finding("slack", "wrong", str(error), remedy)
    finally:
        await endpoint.close()
    try:
        reply = msgspec.json.decode(answer.body, type=_SlackReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        fault = f"answered {answer.status}, but not as Slack does"
        return Finding("slack", "wrong", fault, "check FIRSTHOUR_SLACK_API_URL")
    if reply.ok:
        scopes = {scope.strip() for scope in answer.headers.get("x-oauth-scopes", SLACK_SCOPE).split(",")}
        if SLACK_SCOPE not in scopes:
            remedy = f"give the Slack app the scope {SLACK_SCOPE} and install it again"
            return Finding("slack", "wrong", f"the token lacks the scope {SLACK_SCOPE}", remedy)
        return Finding("slack", "ok", "the token is valid")
    code = reply.error if reply.error.replace("_", "").isalnum() else "an unreadable error"
    return Finding("slack", "wrong", f"Slack refuses the token ({code})", "check FIRSTHOUR_SLACK_BOT_TOKEN")


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
