"""Checks of the Slack app: its token, its scopes, and the channels that the agreement names."""

from collections.abc import AsyncIterator, Collection, Iterator
from typing import Final

import msgspec

from firsthour.kernel.config import Config
from firsthour.operations.doctor.finding import Finding
from firsthour.runtime.http.client import Endpoint, HttpAnswer, NoAnswerError
from firsthour.runtime.settings import PREFIX, Settings

ANSWER_SECONDS: Final = 3.0
SCOPE: Final = "chat:write"
LISTING_SCOPES: Final = "channels:read and groups:read"
PER_ANSWER: Final = 40  # channels: an answer has at most 64 KiB
ANSWERS_MAX: Final = 10


class _SlackChannelRow(msgspec.Struct):
    id: str
    name: str = ""


class _NextPage(msgspec.Struct):
    next_cursor: str = ""


class _SlackReply(msgspec.Struct):
    ok: bool
    error: str = ""
    channels: list[_SlackChannelRow] = []
    response_metadata: _NextPage = msgspec.field(default_factory=_NextPage)


async def slack(settings: Settings, config: Config | None) -> AsyncIterator[Finding]:
    """Yield the findings about Slack and its Socket Mode."""
    async for finding in _of_bot(settings, config):
        yield finding
    if settings.slack_bot_token is not None and settings.slack_app_token is not None:
        yield await _of_app_token(settings.slack_api_url, settings.slack_app_token.get_secret_value().strip())


async def _of_app_token(url: str, token: str) -> Finding:
    endpoint = Endpoint(url, ANSWER_SECONDS, headers={"authorization": f"Bearer {token}"}, idle_max=0)
    remedy = f"check {PREFIX}SLACK_APP_TOKEN; it needs the scope connections:write"
    try:
        reply = _read(await endpoint.post_form("apps.connections.open", {}))
    except NoAnswerError as error:
        return Finding(
            "slack socket", "wrong", str(error), "let this host reach Slack; until then clicks do not arrive"
        )
    if reply is not None and reply.ok:
        return Finding("slack socket", "ok", "the app token is valid")
    return Finding(
        "slack socket", "wrong", f"Slack refuses the app token ({_code(reply) if reply else 'no JSON'})", remedy
    )


async def _of_bot(settings: Settings, config: Config | None) -> AsyncIterator[Finding]:
    """Yield the findings about the bot token and the channels. `config` None: the channels of the agreement are not checked."""
    if settings.slack_bot_token is None:
        return
    token = settings.slack_bot_token.get_secret_value().strip()
    endpoint = Endpoint(settings.slack_api_url, ANSWER_SECONDS, headers={"authorization": f"Bearer {token}"})
    try:
        verdict = _of_token(await endpoint.post_json("auth.test", b"{}"))
        yield verdict
        named = {rung.to for rung in config.agreement.response.ladder if rung.to is not None} if config else set()
        if verdict.verdict == "ok" and named:
            for finding in await _of_channels(endpoint, named):
                yield finding
    except NoAnswerError as error:
        remedy = f"let this host reach {PREFIX}SLACK_API_URL; until then pages use the next channel"
        yield Finding("slack", "wrong", str(error), remedy)
    finally:
        await endpoint.close()


def _of_token(answer: HttpAnswer) -> Finding:
    reply = _read(answer)
    if reply is None:
        fault = f"answered {answer.status}, but not as Slack does"
        return Finding("slack", "wrong", fault, f"check {PREFIX}SLACK_API_URL")
    if not reply.ok:
        return Finding("slack", "wrong", f"Slack refuses the token ({_code(reply)})", f"check {PREFIX}SLACK_BOT_TOKEN")
    scopes = {scope.strip() for scope in answer.headers.get("x-oauth-scopes", SCOPE).split(",")}
    if SCOPE not in scopes:
        remedy = f"give the Slack app the scope {SCOPE} and install it again"
        return Finding("slack", "wrong", f"the token lacks the scope {SCOPE}", remedy)
    return Finding("slack", "ok", "the token is valid")


async def _of_channels(endpoint: Endpoint, named: Collection[str]) -> list[Finding]:
    """Check that the app is in each channel that the agreement names."""
    joined: set[str] = set()
    cursor = ""
    for _ in range(ANSWERS_MAX):
        fields = {"types": "public_channel,private_channel", "limit": str(PER_ANSWER), "cursor": cursor}
        reply = _read(await endpoint.post_form("users.conversations", fields))
        if reply is None or not reply.ok:
            remedy = f"give the Slack app the scopes {LISTING_SCOPES}, and install it again"
            problem = f"the channels of the app cannot be read ({_code(reply) if reply else 'no JSON'})"
            return [Finding("slack", "warning", problem, remedy)]
        joined |= {name for row in reply.channels for name in (row.id, f"#{row.name}")}
        cursor = reply.response_metadata.next_cursor
        if not cursor or joined.issuperset(named):
            break
    return list(_missing(named, joined))


def _missing(named: Collection[str], joined: Collection[str]) -> Iterator[Finding]:
    for channel in sorted(set(named) - set(joined)):
        problem = f"the ladder pages {channel}, but the app is not in it, or Slack has no such channel"
        yield Finding("slack", "wrong", problem, "write `/invite @FirstHour` in the channel, or correct `to:`")


def _read(answer: HttpAnswer) -> _SlackReply | None:
    try:
        return msgspec.json.decode(answer.body, type=_SlackReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _code(reply: _SlackReply) -> str:
    return reply.error if reply.error.replace("_", "").isalnum() else "an unreadable error"
