"""Calls to Slack that answer a person: dialogs, and messages that only this person sees."""

from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from firsthour.runtime.http.client import Endpoint, NoAnswerError
from services.notifier.domain.outside_text import slack

DIALOG_SECONDS: Final = 2.0  # a dialog can be opened within 3 s of the click
TEXT_CHARS_MAX: Final = 3_000
_REPLY_HOSTS: Final = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})


class SlackAnswers(Protocol):
    """Answers people in Slack."""

    async def open_dialog(self, trigger_id: str, view: dict[str, Any]) -> bool:
        """Open a dialog. Return whether Slack did."""

    async def tell(self, response_url: str, text: str) -> bool:
        """Tell the person something that nobody else sees. Return whether Slack accepted it."""


class SlackWeb:
    """Answers people over Slack's Web API, and over the address that came with their click."""

    def __init__(self, token: str, base_url: str) -> None:
        self._endpoint = Endpoint(
            base_url.rstrip("/") + "/",
            DIALOG_SECONDS,
            headers={"authorization": f"Bearer {token.strip()}"},
            idle_max=0,
        )
        self._replies = Endpoint("https://hooks.slack.com/", DIALOG_SECONDS, idle_max=0)
        self._own = urlsplit(base_url)[:2]  # scheme and host: also answers on the host of the API are allowed

    async def open_dialog(self, trigger_id: str, view: dict[str, Any]) -> bool:
        return await _ok(self._endpoint, "views.open", {"trigger_id": trigger_id, "view": view})

    async def tell(self, response_url: str, text: str) -> bool:
        if not self._is_of_slack(response_url):
            return False
        body = {"response_type": "ephemeral", "replace_original": False, "text": slack(text, TEXT_CHARS_MAX)}
        return await _ok(self._replies, response_url, body) or await _ok(self._replies, response_url, body)

    def _is_of_slack(self, url: str) -> bool:
        """Return whether answers may go to this address."""
        try:
            parts = urlsplit(url)
        except ValueError:  # not an address
            return False
        return parts[:2] == self._own or (parts.scheme == "https" and parts.hostname in _REPLY_HOSTS)


async def _ok(endpoint: Endpoint, path: str, body: dict[str, Any]) -> bool:
    try:
        answer = await endpoint.post_json(path, msgspec.json.encode(body))
    except NoAnswerError:
        return False
    return answer.status == 200 and b'"ok":false' not in answer.body.replace(b" ", b"")
