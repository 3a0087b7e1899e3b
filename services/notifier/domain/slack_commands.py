"""The slash commands `/away`, `/back` and `/leads`: what they ask for, and their answers."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from schemas.errors import FirstHourError
from schemas.events.actions import ActionRequested
from schemas.events.routes import LeadCard
from schemas.team import Rep
from schemas.values import duration
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.outside_text import NAME_CHARS_MAX, clean, slack, unlinked
from services.notifier.domain.slack_request import SlashCommand
from services.notifier.domain.times import lasting

LEADS_MAX: Final = 20
AWAY_MAX: Final = timedelta(days=366)
_COMMANDS: Final = UUID("0c0f2c63-6a3c-5a2e-8a39-5b1a4cf0a9a4")
_TIME: Final = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d)")
_EXAMPLES: Final = "write `/away`, `/away 2h`, `/away 17:30` or `/away 2026-12-24`"


class UnknownTimeError(FirstHourError, ValueError):
    """Raised for a text that is no time in the future; the message gives examples."""


def end_of_absence(text: str, now: datetime, zone: ZoneInfo | None) -> datetime | None:
    """Return the end of an absence: a duration, a time of today, a day (included), or a time with its offset.

    Args:
        text: empty: the absence has no end.
        now: business time.
        zone: of the rep; None: UTC.

    Raises:
        UnknownTimeError: The text is none of these, or not within the next year.
    """
    if not text:
        return None
    end = _end(text, now.astimezone(zone or UTC))
    if end is None:
        raise UnknownTimeError(f"that is not a time; {_EXAMPLES}")
    if not now < end <= now + AWAY_MAX:
        raise UnknownTimeError(f"that time is not within the next year; {_EXAMPLES}")
    return end.astimezone(UTC)


def _end(text: str, local: datetime) -> datetime | None:
    match = _TIME.fullmatch(text)
    try:
        if match:
            at = datetime.combine(local.date(), time(int(match[1]), int(match[2])), local.tzinfo)
            return at if at > local else at + timedelta(days=1)
        if len(text) == len("2026-12-24"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), local.tzinfo)
        if text[:1].isdigit() and text[-1:] in "wdhms":
            return local + duration(text)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=local.tzinfo)


def availability(
    command: SlashCommand, rep: Rep, action: Literal["away", "back"], until: datetime | None, now: datetime
) -> ActionRequested:
    """Return the request that sets the rep away or available."""
    return ActionRequested(
        action_id=str(uuid5(_COMMANDS, command.key)),
        action=action,
        lead_id="",
        epoch=0,
        at=now,
        by=f"rep:{rep.id}",
        until=until,
    )


def leads_text(waiting: Sequence[ResponseClock], working: int, now: datetime) -> str:
    """Return the open leads of a rep for Slack, the soonest deadline first. Text from outside is escaped.

    Args:
        waiting: at most one more than `LEADS_MAX`: the others are not named.
        working: how many leads of the rep have been contacted.
    """
    lines = [f"• {_name(clock.card)}: {_deadline(clock, now)}" for clock in waiting[:LEADS_MAX]]
    if len(waiting) > LEADS_MAX:
        lines.append("• and more")
    head = "Waiting for a first contact:" if lines else "No lead of yours waits for a first contact."
    tail = f"{working} more in progress." if working else ""
    return "\n".join(filter(None, [head, *lines, tail]))


def _name(card: LeadCard) -> str:
    name = unlinked(card.name, NAME_CHARS_MAX) or clean(card.email, NAME_CHARS_MAX) or clean(card.phone, NAME_CHARS_MAX)
    company = unlinked(card.company, NAME_CHARS_MAX)
    return slack(f"{name or 'someone'} ({company})" if company else name or "someone without a name", 200)


def _deadline(clock: ResponseClock, now: datetime) -> str:
    left = clock.promise_at - now
    stamp = f"<!date^{int(clock.promise_at.timestamp())}^{{date_short_pretty}} {{time}}|{clock.promise_at:%H:%M} UTC>"
    return f"by {stamp}, {lasting(left)} left" if left > timedelta(0) else f"*overdue* since {stamp}"
