"""Signed POSTs to a web address of the installation's owner, as Standard Webhooks defines them.

The address is checked at each connection: a private one is refused, and redirects are not followed.
"""

import base64
import hmac
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from firsthour.runtime.http.client import HttpAnswer, NoAnswerError, post_pinned
from firsthour.runtime.http.public_hosts import PrivateAddressError, UnknownHostError, addresses_of
from services.notifier.channels.answers import temporary
from services.notifier.channels.base import TIMEOUT_SECONDS, GiveUp, Gone, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain import message_text
from services.notifier.domain.message import Message
from services.notifier.domain.notice import Notice
from services.notifier.domain.outside_text import clean
from services.notifier.domain.page_words import content_of

PAGE_TYPE: Final = "page"
NOTICE_TYPE: Final = "notice"
_PREFIX: Final = "whsec_"
_OF_THE_ENDPOINT: Final = frozenset({401, 403, 404, 405})
"""Refusals that concern every delivery. Others concern one body."""
_PORTS: Final = {"https": 443, "http": 80}


class WebhookChannel:
    """Posts to one address. Every POST is signed with each secret."""

    def __init__(
        self,
        name: str,
        url: str,
        secrets: Sequence[str],
        now: Callable[[], datetime],
        private_hosts: Collection[str] = (),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Take the keys in base64 after `whsec_`. `private_hosts`: hosts whose private addresses are allowed."""
        self._name = name
        self._url = url
        self._keys = [base64.b64decode(secret.removeprefix(_PREFIX)) for secret in secrets]
        self._now = now
        parts = urlsplit(url)
        self._host = (parts.hostname or "").lower()
        self._port = parts.port or _PORTS[parts.scheme]
        self._private_allowed = self._host in private_hosts
        self._timeout_seconds = timeout_seconds

    @property
    def name(self) -> str:
        return self._name

    async def send(self, message: Message) -> Outcome:
        return await self.post(message.page_id, page_body(message))

    async def tell(self, notice: Notice) -> Outcome:
        data = {"team": notice.team, "subject": notice.subject, "lines": notice.lines}
        body = {"type": NOTICE_TYPE, "timestamp": self._now(), "data": data}
        return await self.post(notice.id, msgspec.json.encode(body))

    async def post(self, id: str, body: bytes) -> Outcome:
        """Post the body under this id, which is the same for every attempt, so that the receiver can leave out duplicates."""
        try:
            found = await addresses_of(self._host, self._port, private_allowed=self._private_allowed)
            answer = await post_pinned(self._url, found, body, self._headers(id, body), self._timeout_seconds)
        except PrivateAddressError as error:
            return Unusable(f"{self._name}: {error}; name it in FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS if it is yours")
        except (NoAnswerError, UnknownHostError) as error:
            return TryAgain(None, f"{self._name}: {error}")
        return self._outcome(answer, id)

    async def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        seconds = str(int(self._now().timestamp()))
        signed = f"{id}.{seconds}.".encode() + body
        signatures = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys]
        return {
            "content-type": "application/json; charset=utf-8",
            "user-agent": "FirstHour",
            "webhook-id": id,
            "webhook-timestamp": seconds,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }

    def _outcome(self, answer: HttpAnswer, id: str) -> Outcome:
        if 200 <= answer.status < 300:
            return Sent(f"{self._name}:{id}")
        if answer.status == 410:
            return Gone(f"{self._name} answered 410: it wants no more webhooks")
        if 300 <= answer.status < 400:
            return Unusable(f"{self._name} answered {answer.status}; redirects are not followed: correct `url`")
        if (again := temporary(self._name, answer)) is not None:
            return again
        why = f"{self._name} answered {answer.status}"
        return Unusable(why) if answer.status in _OF_THE_ENDPOINT else GiveUp(why)


def page_body(message: Message) -> bytes:
    """Return the body of a page."""
    page = message_text.words(message)
    recipient = {"name": clean(message.person_name), "email": message.person_email or None}
    data = {
        "lead": message.lead_id,
        "epoch": message.epoch,
        "kind": message.kind,
        "recipient": recipient,
        "subject": page.subject,
        **content_of(page),
        "url": page.url,
    }
    return msgspec.json.encode({"type": PAGE_TYPE, "timestamp": message.written_at, "data": data})
