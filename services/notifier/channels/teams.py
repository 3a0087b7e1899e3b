"""Pages as Adaptive Cards in Microsoft Teams, by the URL of a workflow.

A workflow has no identity for a repeated call, and its 202 means "accepted". Text from outside stands in text runs, which
Teams shows as they are: text blocks and fact sets would read it as Markdown.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from firsthour.runtime.http.client import Endpoint, HttpAnswer, NoAnswerError
from services.notifier.channels.answers import temporary
from services.notifier.channels.base import TIMEOUT_SECONDS, GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain import message_text
from services.notifier.domain.message import ActionLink, Message
from services.notifier.domain.notice import Notice
from services.notifier.domain.notice import words as words_of_notice
from services.notifier.domain.outside_text import clean, own_url
from services.notifier.domain.page_words import Further, Words, sections, text_of
from services.notifier.domain.voices import ACTIONS

CARD_BYTES_MAX: Final = 28 * 1024  # a limit of Teams
CHARS: Final = (2_000, 500, 120, 30)
"""Characters kept of each text. Each number is tried until the card is small enough."""
_SCHEMA: Final = "http://adaptivecards.io/schemas/adaptive-card.json"
_TYPE: Final = "application/vnd.microsoft.card.adaptive"
_Element = dict[str, Any]


class TeamsChannel:
    """Cards in the channel of one workflow."""

    def __init__(self, name: str, url: str, remedy: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Take the URL of the workflow, which is a secret. `remedy`: what to do about a URL that Teams rejects."""
        self._name = name
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._remedy = remedy

    @cached_property
    def _endpoint(self) -> Endpoint:
        """Made at the first page: it reads the certificates of all authorities."""
        return Endpoint(self._url, self._timeout_seconds, idle_max=0)

    @property
    def name(self) -> str:
        return self._name

    async def send(self, message: Message) -> Outcome:
        card = body(message_text.words(message), f"For {message.person_name}", message.links)
        return await self._post(card, message.page_id)

    async def tell(self, notice: Notice) -> Outcome:
        return await self._post(body(words_of_notice(notice), f"For {notice.team}"), notice.id)

    async def close(self) -> None:
        """Do nothing: no connection is kept between pages."""

    async def _post(self, card: bytes, id: str) -> Outcome:
        try:
            answer = await self._endpoint.post_json(self._url, card)
        except NoAnswerError as error:
            return TryAgain(None, f"Teams: {error}")
        return self._outcome(answer, id)

    def _outcome(self, answer: HttpAnswer, id: str) -> Outcome:
        if 200 <= answer.status < 300:
            return Sent(f"{self.name}:{id}")
        if (again := temporary("Teams", answer)) is not None:
            return again
        if answer.status in (400, 413):
            return GiveUp(f"Teams rejected the card ({answer.status})")
        return Unusable(f"Teams rejects this workflow ({answer.status}); {self._remedy}")


def body(words: Words, recipient: str, links: Sequence[ActionLink] = ()) -> bytes:
    """Return the message with its card, within `CARD_BYTES_MAX`: long texts are cut.

    `links`: the buttons of a page that opens no lead. The page of a lead has all actions.
    """
    bare = replace(words, also=tuple(Further(page.headline) for page in words.also))
    tries = (*((words, chars) for chars in CHARS), (bare, CHARS[-1]))
    contents = (msgspec.json.encode(_message(content, recipient, chars, links)) for content, chars in tries)
    return next(content for content in contents if len(content) <= CARD_BYTES_MAX)


def _message(words: Words, recipient: str, chars: int, links: Sequence[ActionLink]) -> dict[str, Any]:
    elements = [_paragraph(_run(words.subject, chars, weight="Bolder", size="Large"))]
    elements += [_paragraph(_run(recipient, chars, isSubtle=True))]
    elements += [
        _paragraph(_spaced(_run(f"{fact.label}:", chars, weight="Bolder")), _run(text_of(fact.line), chars))
        for fact in words.facts
    ]
    for part in sections(words):
        elements += [_paragraph(_run(f"{text_of(part.heading)}:", chars, weight="Bolder"))]
        urls = part.urls or (None,) * len(part.lines)
        for line, url in zip(part.lines, urls, strict=True):
            opens = {"selectAction": {"type": "Action.OpenUrl", "url": url}} if url else {}
            elements += [_paragraph(_run(f"• {text_of(line)}", chars, **opens))]
    elements += [_paragraph(_run(words.footer, chars, isSubtle=True, size="Small"))]
    card: dict[str, Any] = {"$schema": _SCHEMA, "type": "AdaptiveCard", "version": "1.4", "body": elements}
    if words.url:
        card["actions"] = [_button("Open the lead", words.url)]
    elif links:
        card["actions"] = list(_buttons(links))
    return {"type": "message", "attachments": [{"contentType": _TYPE, "contentUrl": None, "content": card}]}


def _buttons(links: Sequence[ActionLink]) -> Iterator[_Element]:
    """Yield the buttons of the links that act. Links are of this installation, and are checked all the same."""
    labels = {str(words.action): words.label for words in ACTIONS.values()}
    for link in links:
        url = own_url(link.url)
        if url is not None and link.action in labels:
            yield _button(labels[link.action], url)


def _button(title: str, url: str) -> _Element:
    return {"type": "Action.OpenUrl", "title": title, "url": url}


def _spaced(run: _Element) -> _Element:
    """Return the run with a space after it: runs follow each other without any."""
    return {**run, "text": f"{run['text']} "}


def _paragraph(*runs: _Element) -> _Element:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, chars_max: int, **style: Any) -> _Element:
    """Return text that is shown as it is. `{{` would begin a function of the card."""
    line = clean(text, chars_max).replace("{{", "{ {")
    return {"type": "TextRun", "text": line, **style}
