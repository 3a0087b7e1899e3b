"""Pages as direct messages in Slack, by the Web API's `chat.postMessage`.

Slack answers most failures with 200 and `ok: false`. It does not guarantee that a repeated call is shown as one message.
Every attempt to send a page carries the same `client_msg_id`, which is the best that the API offers.
"""

import re
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from slack_sdk.models.blocks import HeaderBlock, SectionBlock

from firsthour.runtime.http.client import Endpoint, HttpAnswer, NoAnswerError
from services.notifier.channels.answers import retry_after
from services.notifier.channels.base import (
    TIMEOUT_SECONDS,
    GiveUp,
    Outcome,
    Sent,
    TryAgain,
    Unusable,
)
from services.notifier.channels.slack_blocks import buttons
from services.notifier.channels.slack_page import (
    HEADER_CHARS_MAX,
    SECTION_CHARS_MAX,
    SlackBlock,
    page_blocks,
    paragraph,
    plain,
)
from services.notifier.domain import outside_text
from services.notifier.domain.message import Message
from services.notifier.domain.message_text import settled, words
from services.notifier.domain.notice import Notice
from services.notifier.domain.page_words import Words

API_URL = "https://slack.com/api/"
TEXT_CHARS_MAX = 300

_RATE_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_TEMPORARY_ERRORS = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "accesslimited"}
)
_BOT = "check FIRSTHOUR_SLACK_BOT_TOKEN"
_SCOPE = "add the scope chat:write to the Slack app and install the app again"
_REP = "check the rep's `slack` in team.yaml: a member id such as U012AB3CD"
_INSTALLATION_ERRORS = {
    **dict.fromkeys(
        (
            "invalid_auth",
            "not_authed",
            "account_inactive",
            "token_revoked",
            "token_expired",
            "not_allowed_token_type",
            "org_login_required",
            "team_access_not_granted",
            "two_factor_setup_required",
            "ekm_access_denied",
            "enterprise_is_restricted",
            "access_denied",
        ),
        _BOT,
    ),
    "missing_scope": _SCOPE,
    "no_permission": _SCOPE,
    "unknown_method": "check FIRSTHOUR_SLACK_API_URL",
}
"""Errors that concern the token or the app, so every page, with the remedy."""
_RECIPIENT_ERRORS = {
    "channel_not_found": _REP,
    "user_not_found": _REP,
    "is_archived": _REP,
    "not_in_channel": "invite the Slack app to the channel, or name a member id in team.yaml",
}
_CODE = re.compile(r"[a-z0-9_]{1,64}")


class _Reply(msgspec.Struct):
    """The fields of Slack's answer that are read."""

    ok: bool
    error: str = ""
    channel: str = ""
    ts: str = ""


class SlackChannel:
    """Direct messages from the app's bot to a rep's Slack user id."""

    name = "slack"

    def __init__(
        self,
        token: str,
        base_url: str = API_URL,
        timeout_seconds: float = TIMEOUT_SECONDS,
        *,
        clickable: bool = False,  # clicks reach this installation, so messages have buttons
    ) -> None:
        self._clickable = clickable
        self._endpoint = Endpoint(
            base_url.rstrip("/") + "/", timeout_seconds, headers={"authorization": f"Bearer {token.strip()}"}
        )

    async def send(self, message: Message) -> Outcome:
        if not message.person_slack:
            return GiveUp("no Slack user id for this person; add `slack` to the rep in team.yaml")
        sent = await self._call("chat.postMessage", body(message, self._clickable))
        if message.slack_thread is not None and isinstance(sent, GiveUp):  # the thread may have been deleted
            sent = await self._call("chat.postMessage", body(message.threaded(None), self._clickable))
        return sent

    async def update(self, message: Message, channel: str, ts: str) -> Outcome:
        """Show the message at this place anew. `GiveUp`: it cannot be changed any more."""
        arguments = body(message, self._clickable)
        kept = {name: arguments[name] for name in ("text", "blocks", "parse", "link_names", "metadata")}
        return await self._call("chat.update", {"channel": channel, "ts": ts, **kept})

    async def tell(self, notice: Notice) -> Outcome:
        """Post the notice in the channel of the team."""
        if not notice.slack:
            return GiveUp(f"no Slack channel for {notice.team}; add `slack` under `tell` in agreement.yaml")
        return await self._call("chat.postMessage", notice_body(notice))

    async def _call(self, method: str, arguments: Mapping[str, Any]) -> Outcome:
        try:
            answer = await self._endpoint.post_json(method, msgspec.json.encode(arguments))
        except NoAnswerError as error:
            return TryAgain(None, f"Slack: {error}")
        return outcome(answer)

    async def close(self) -> None:
        await self._endpoint.close()


def body(message: Message, clickable: bool = False) -> dict[str, Any]:
    """Return the arguments of `chat.postMessage`. Text from outside is escaped and stands in plain text objects."""
    page, thread = words(message), message.slack_thread
    if message.standing.over:
        page = settled(page, message)
    place: dict[str, Any] = {"channel": message.person_slack}
    if thread is not None:  # the reply is shown in the conversation too: a reminder in a thread alone is not seen
        place = {"channel": thread.channel, "thread_ts": thread.ts, "reply_broadcast": True}
    return {
        **place,
        "text": outside_text.slack(page.subject, TEXT_CHARS_MAX),
        "blocks": _blocks(message, page, clickable),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "client_msg_id": str(uuid5(NAMESPACE_URL, f"firsthour:page:{message.page_id}")),
        "metadata": {
            "event_type": "firsthour_page",
            "event_payload": {"page_id": message.page_id, "lead_id": message.lead_id, "epoch": message.epoch},
        },
    }


def notice_body(notice: Notice) -> dict[str, Any]:
    """Return the arguments of `chat.postMessage` for a notice."""
    blocks = [HeaderBlock(text=plain(notice.subject, HEADER_CHARS_MAX)).to_dict()]
    if notice.lines:
        blocks.append(SectionBlock(text=plain("\n".join(notice.lines), SECTION_CHARS_MAX)).to_dict())
    return {
        "channel": notice.slack,
        "text": outside_text.slack(notice.subject, TEXT_CHARS_MAX),
        "blocks": blocks,
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "client_msg_id": str(uuid5(NAMESPACE_URL, f"firsthour:notice:{notice.id}")),
    }


def _blocks(message: Message, page: Words, clickable: bool) -> list[SlackBlock]:
    """Return the page with what became of its assignment at the top, and the buttons that are left below the facts."""
    blocks = page_blocks(page)
    if clickable and message.standing.actions:
        blocks.insert(2 if page.facts else 1, buttons(message.page_id, message.standing.actions))
    said = [text for text in (message.standing.text, message.standing.notice) if text]
    if said:
        blocks.insert(1, paragraph("\n".join(said)))
    return blocks


def outcome(answer: HttpAnswer) -> Outcome:
    """Return the outcome that Slack's answer means for the page."""
    if answer.status == 429:
        return TryAgain(retry_after(answer.headers), "Slack: rate limit reached")
    if answer.status >= 500 or answer.status in (408, 425):
        return TryAgain(retry_after(answer.headers), f"Slack answered {answer.status}")
    if not 200 <= answer.status < 300:
        return Unusable(f"Slack answered {answer.status}; check FIRSTHOUR_SLACK_API_URL")
    try:
        reply = msgspec.json.decode(answer.body, type=_Reply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return TryAgain(None, f"Slack answered {answer.status} with a body that is not its JSON")
    return Sent(f"{reply.channel}:{reply.ts}") if reply.ok else _error_outcome(reply.error, answer.headers)


def _error_outcome(error: str, headers: Mapping[str, str]) -> TryAgain | GiveUp | Unusable:
    code = error if _CODE.fullmatch(error) else "an unreadable error"
    if code in _RATE_LIMITED:
        return TryAgain(retry_after(headers), "Slack: rate limit reached")
    if code in _TEMPORARY_ERRORS:
        return TryAgain(retry_after(headers), f"Slack answered {code}")
    if code in _INSTALLATION_ERRORS:
        return Unusable(f"Slack rejects this installation: {code}; {_INSTALLATION_ERRORS[code]}")
    return GiveUp(
        f"Slack rejected the page: {code}" + (f"; {_RECIPIENT_ERRORS[code]}" if code in _RECIPIENT_ERRORS else "")
    )
