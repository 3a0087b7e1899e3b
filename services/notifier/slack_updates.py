"""Show messages in Slack anew when the standing of their lead has changed: claim, call, record.

A change asks for it in its own unit, so that no update is lost. Slack's rate limit and outages postpone it; the messages of
pages never wait for it.
"""

import asyncio
import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Lane, StorageError, Unit
from services.notifier.channels.base import RETRY_AFTER_SECONDS_MAX, GiveUp, Outcome, Sent, TryAgain
from services.notifier.channels.slack import SlackChannel
from services.notifier.context import SLACK_UPDATES, Claim, NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.further_lines import further_line, gone
from services.notifier.domain.message import Message, message_of
from services.notifier.domain.page import LEASE, Page, backoff_seconds, storable
from services.notifier.domain.page_words import Further
from services.notifier.domain.terms import Terms
from services.notifier.page_links import PageLinks
from services.notifier.store.clocks import find_readable_clocks
from services.notifier.store.pages import find_pages
from services.notifier.store.slack_messages import (
    SlackMessage,
    due_messages,
    next_message_due,
    postpone,
    settle_message,
)

AT_ONCE = 20
LOOK_SECONDS = 1.0
TRIES_MAX = 40
"""With the longest pause between two tries these take most of a day."""
PAUSE_SECONDS_MAX = 1_800.0
MAX_PAUSE = timedelta(seconds=RETRY_AFTER_SECONDS_MAX)
"""A longer pause is one of a host's clock that was set back, and counts as over."""
_GONE = "its lead is no longer here"
_CANNOT_BE_MADE = "the message cannot be made; the log has the place in the code"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Update:
    """A message that the holder shows anew now."""

    message: SlackMessage
    claim: Claim
    shown: str  # identifies what it will show

    @property
    def content(self) -> Message:
        return self.claim.message


class SlackUpdates:
    """The runner that shows messages anew."""

    name = SLACK_UPDATES

    def __init__(
        self,
        resources: Resources,
        slack: SlackChannel,
        context: NotifierContext,
        jitter: Callable[[], float] = random.random,  # spreads retries, guards nothing
    ) -> None:
        self._resources = resources
        self._slack = slack
        self._context = context
        self._links = PageLinks(resources)
        self._jitter = jitter
        self._wakeup = asyncio.Event()
        self._paused_until: datetime | None = None  # real time: Slack asked for a pause
        self._next_at: datetime | None = None  # real time

    def wake(self) -> None:
        """Look soon: an update was asked for."""
        self._wakeup.set()

    async def step(self) -> bool:
        """Show the messages anew that are due. Return whether there were any."""
        units, real = self._resources.units, self._resources.clock.real()
        if self._paused_until is not None and real < self._paused_until <= real + MAX_PAUSE:
            self._next_at = self._paused_until
            return False
        self._paused_until = None
        updates, self._next_at = await units.run(partial(claim_updates, context=self._context), Lane.BULK)
        if not updates:
            return False
        outcomes = await asyncio.gather(*(self._show(update) for update in updates))
        await units.run(partial(self._record, updates=updates, outcomes=outcomes), Lane.BULK)
        return True

    async def run(self) -> None:
        """Show messages anew until cancelled."""
        while True:
            self._wakeup.clear()
            try:
                while await self.step():
                    pass
            except StorageError as failure:
                _log.warning("storage unavailable", consumer=self.name, problem=str(failure))
            try:
                async with asyncio.timeout(self._seconds_left()):
                    await self._wakeup.wait()
            except TimeoutError:
                pass

    def _seconds_left(self) -> float:
        if self._next_at is None:
            return LOOK_SECONDS
        left = (self._next_at - self._resources.clock.real()).total_seconds()
        return min(max(left, 0.05), LOOK_SECONDS)

    async def _show(self, update: Update) -> Outcome:
        try:
            content = await self._links.complete(update.claim)
            return await self._slack.update(content, update.message.channel, update.message.ts)
        except Exception as failure:  # noqa: BLE001  # a fault of one message must not end the others
            _log.error("slack update failed", error_type=type(failure).__name__)
            return TryAgain(None, type(failure).__name__)

    def _record(self, unit: Unit, updates: Sequence[Update], outcomes: Sequence[Outcome]) -> None:
        for update, outcome in sorted(zip(updates, outcomes, strict=True), key=lambda pair: pair[0].message.page_id):
            message = update.message
            if isinstance(outcome, Sent):
                settle_message(unit, message, update.shown)
                continue
            if isinstance(outcome, TryAgain) and outcome.after_seconds:
                self._paused_until = unit.clock.real() + timedelta(seconds=outcome.after_seconds)
            last = isinstance(outcome, GiveUp) or message.tries >= TRIES_MAX
            next_at = None if last else unit.clock.real() + self._pause(message, outcome)
            settle_message(unit, message, message.shown, next_at, storable(outcome.why))
            _log.warning("slack update not accepted", page=message.page_id, why=outcome.why, given_up=last)

    def _pause(self, message: SlackMessage, outcome: Outcome) -> timedelta:
        wait = outcome.after_seconds if isinstance(outcome, TryAgain) else None
        growing = min(PAUSE_SECONDS_MAX, backoff_seconds(min(message.tries + 1, 4)) * max(1, message.tries - 2))
        return timedelta(seconds=max(wait or 0.0, growing * (0.5 + self._jitter() / 2)))


def claim_updates(unit: Unit, context: NotifierContext) -> tuple[list[Update], datetime | None]:
    """Return the messages to be shown anew, and when the next is due (real time). A message that shows it all is left out.

    A claim is a lease: if its holder crashes, the message is shown anew after it.
    """
    real, now = unit.clock.real(), unit.now
    due = due_messages(unit, real, AT_ONCE)
    if not due:
        return [], next_message_due(unit)
    postpone(unit, [message.page_id for message in due], real + LEASE)
    further = [line.page_id for message in due for line in message.also if line.page_id]
    pages = find_pages(unit.connection, [message.page_id for message in due] + further)
    clocks = find_readable_clocks(unit.connection, {page.lead_id for page in pages.values()})
    terms, updates = context.terms(unit), []
    for message in due:
        page, clock = pages.get(message.page_id), clocks.get(message.lead_id)
        if page is None or clock is None:
            settle_message(unit, message, message.shown, error=_GONE)
            continue
        try:
            content = message_of(page, clock, terms, now, context.public_url).noticed(message.notice)
            also = tuple(_line(line, page.channel, pages, clocks, terms, now) for line in message.also)
            content = dataclasses.replace(content, also=also)
        except Exception as error:  # noqa: BLE001  # a fault of one message must not hold up the others
            _log.error("slack update failed", page=message.page_id, exc_info=error)
            settle_message(unit, message, message.shown, error=_CANNOT_BE_MADE)
            continue
        shown = content.identity
        if shown == message.shown:
            settle_message(unit, message, shown)
        else:
            updates.append(Update(message, Claim(page, content), shown))
    return updates, real


def _line(
    line: Further,
    channel: str,
    pages: Mapping[str, Page],
    clocks: Mapping[str, ResponseClock],
    terms: Terms,
    now: datetime,
) -> Further:
    """Return the line about a page that a message carries, as its lead stands now."""
    if not line.page_id:
        return line
    page = pages.get(line.page_id)
    clock = clocks.get(page.lead_id) if page is not None else None
    if page is None or clock is None:
        return gone(line)
    return further_line(message_of(page, clock, terms, now, None), channel)
