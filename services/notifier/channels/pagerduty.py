"""Pages as alerts in PagerDuty, by its Events API v2. A lead has one alert, by its dedup key."""

from datetime import datetime
from functools import cached_property
from typing import Any, Final

import msgspec

from firsthour.runtime.http.client import Endpoint, HttpAnswer, NoAnswerError
from services.notifier.channels.answers import temporary
from services.notifier.channels.base import TIMEOUT_SECONDS, GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain import message_text
from services.notifier.domain.alert import SILENT, dedup_key
from services.notifier.domain.message import Message
from services.notifier.domain.notice import Notice
from services.notifier.domain.outside_text import clean
from services.notifier.domain.page_words import text_of

API_URL: Final = "https://events.pagerduty.com/"
PATH: Final = "v2/enqueue"
SUMMARY_CHARS_MAX: Final = 1_024  # a limit of PagerDuty
_SEVERITIES: Final = {"manager": "critical", "missed": "critical", "next_attempt": "warning", "test": "info"}
_URGENT: Final = "error"
_KEY_WORDS: Final = (b"routing_key", b"routing key", b"integration key")


class PagerDutyChannel:
    """Events with one routing key, which belongs to one integration of one service."""

    def __init__(
        self,
        name: str,
        routing_key: str,
        remedy: str,
        base_url: str = API_URL,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Take the routing key, which is a secret. `remedy`: what to do about a key that PagerDuty rejects."""
        self._name = name
        self._routing_key = routing_key
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._remedy = remedy

    @cached_property
    def _endpoint(self) -> Endpoint:
        """Made at the first event: it reads the certificates of all authorities."""
        return Endpoint(self._base_url, self._timeout_seconds, idle_max=0)

    @property
    def name(self) -> str:
        return self._name

    async def send(self, message: Message) -> Outcome:
        if message.kind in SILENT:
            return GiveUp(f"{self._name} is for alerts, and this page asks for nothing")
        event = trigger(message)
        outcome = await self.post(event)
        if message.kind == "test" and isinstance(outcome, Sent):
            await self.post({"event_action": "resolve", "dedup_key": event["dedup_key"]})
        return outcome

    async def tell(self, notice: Notice) -> Outcome:
        details = {str(number): line for number, line in enumerate(notice.lines, 1)}
        payload = {"summary": notice.subject, "source": "FirstHour", "severity": "warning", "custom_details": details}
        key = dedup_key(f"notice:{notice.id}")
        return await self.post({"event_action": "trigger", "dedup_key": key, "client": "FirstHour", "payload": payload})

    async def post(self, event: dict[str, Any]) -> Outcome:
        """Send one event."""
        body = msgspec.json.encode({"routing_key": self._routing_key, **event})
        try:
            answer = await self._endpoint.post_json(PATH, body)
        except NoAnswerError as error:
            return TryAgain(None, f"PagerDuty: {error}")
        return self._outcome(answer, event["dedup_key"])

    async def close(self) -> None:
        """Do nothing: no connection is kept between events."""

    def _outcome(self, answer: HttpAnswer, key: str) -> Outcome:
        if 200 <= answer.status < 300:
            return Sent(key)
        if (again := temporary("PagerDuty", answer)) is not None:
            return again
        of_key = any(words in answer.body.lower() for words in _KEY_WORDS)
        if answer.status == 400 and not of_key:
            return GiveUp("PagerDuty rejected the event (400)")
        return Unusable(f"PagerDuty rejects the routing key ({answer.status}); {self._remedy}")


def trigger(message: Message) -> dict[str, Any]:
    """Return the event that raises the alert of the lead."""
    page = message_text.words(message)
    is_test = message.kind == "test"
    facts = {fact.label: text_of(fact.line) for fact in page.facts}
    event: dict[str, Any] = {
        "event_action": "trigger",
        "dedup_key": dedup_key(f"test:{message.page_id}" if is_test else message.lead_id),
        "client": "FirstHour",
        "payload": {
            "summary": clean(page.subject, SUMMARY_CHARS_MAX),
            "source": "FirstHour",
            "severity": _SEVERITIES.get(message.kind, _URGENT),
            "timestamp": _time(message.written_at),
            "component": clean(message.urgency),
            "custom_details": {"recipient": clean(message.person_name), **facts},
        },
    }
    if page.url:
        event |= {"client_url": page.url, "links": [{"href": page.url, "text": "Open the lead"}]}
    return event


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
