"""Complete a message just before it is sent: sign its links, and find the mail or the Slack message that began its thread.

A page never waits for its links. If the database does not answer, the page goes without them.
"""

import asyncio
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import StorageError
from services.notifier.context import Claim
from services.notifier.domain.link import LIFETIME, Link, LinkAction, LinkKey, token_of
from services.notifier.domain.link_offers import offered_in
from services.notifier.domain.message import ActionLink, Message, SlackPlace
from services.notifier.domain.page import Page
from services.notifier.domain.page_words import Further
from services.notifier.link_keys import LinkKeys
from services.notifier.store.slack_messages import place_of
from services.notifier.store.threads import first_mail

PATH: Final = "/a/"
MAIL: Final = "email"
SLACK: Final = "slack"
WAIT_SECONDS: Final = 3.0
"""How long a page waits for the database: a part of the time that its channel may take."""

_log = structlog.get_logger(__name__)


class PageLinks:
    """Completes the messages of one process."""

    def __init__(self, resources: Resources) -> None:
        self._keys, self._clock, self._reads = LinkKeys(resources), resources.clock, resources.reads

    async def complete(self, claim: Claim) -> Message:
        """Return the message with its links, and as a mail with its thread."""
        page, message = claim.page, claim.message
        actions = offered_in(message, page.channel) if message.public_url is not None and _is_uuid(page.id) else ()
        thread_id = message.thread_id if page.channel == SLACK else None
        if not actions and thread_id is None and page.channel != MAIL and not message.also:
            return message  # the database has nothing to add
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                thread = await self._reads(lambda c: first_mail(c, page)) if page.channel == MAIL else None
                links = await self._links(page, message, actions)
                place = await self._slack_thread(thread_id, message) if thread_id is not None else None
                message = replace(message, also=await self._further(message))
        except (StorageError, TimeoutError) as failure:
            _log.warning("links left out", page=page.id, error_type=type(failure).__name__)
            return message
        return with_links(message, links, thread).threaded(place)

    async def _links(self, page: Page, message: Message, actions: tuple[LinkAction, ...]) -> tuple[ActionLink, ...]:
        if message.public_url is None or not actions:
            return ()
        key, until = await self._keys.signing(), self._clock.real() + LIFETIME
        base = message.public_url.rstrip("/") + PATH
        return tuple(ActionLink(action, base + new_token(action, page.id, until, key)) for action in actions)

    async def _further(self, message: Message) -> tuple[Further, ...]:
        """Return the further pages of the message, each with a link that opens its lead."""
        if message.public_url is None or not any(page.page_id and page.opens for page in message.also):
            return message.also
        key, until = await self._keys.signing(), self._clock.real() + LIFETIME
        base = message.public_url.rstrip("/") + PATH
        return tuple(
            msgspec.structs.replace(page, url=base + new_token("open", page.page_id, until, key))
            if page.opens and _is_uuid(page.page_id)
            else page
            for page in message.also
        )

    async def _slack_thread(self, first_page: str, message: Message) -> SlackPlace | None:
        """Return the place of the message of this page, if it went to the same Slack id; None: it did not."""
        first = await self._reads(lambda connection: place_of(connection, first_page))
        if first is None or first.recipient != message.person_slack:
            return None
        return SlackPlace(first.channel, first.ts)


def new_token(action: LinkAction, page_id: str, expires_at: datetime, key: LinkKey) -> str:
    """Return the token of a new link."""
    return token_of(Link(action, page_id, expires_at, secrets.randbits(32)), key)


def with_links(message: Message, links: tuple[ActionLink, ...], thread: str | None) -> Message:
    """Return the message with these links. `thread`: the Message-ID of the first mail about the lead; None: this one."""
    opening = next((link.url for link in links if link.action == "open"), None)
    return message.completed(lead_url=opening, links=links, mail_thread=thread)


def _is_uuid(id: str) -> bool:
    try:
        return str(UUID(id)) == id
    except ValueError:
        return False
