"""The page of a lead as its rep sees it: how things stand, how to reach the person, the facts, and the history.

Every text is clean, and not escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.counting import paused_until
from services.notifier.domain.message import Message
from services.notifier.domain.message_text import words
from services.notifier.domain.outside_text import NAME_CHARS_MAX, clean, unlinked
from services.notifier.domain.page_words import Fact, text_of
from services.notifier.domain.snooze import SNOOZE, snoozed_until
from services.notifier.domain.timeline import TimelineLine
from services.notifier.domain.times import at, lasting, zone_of

Tone = Literal["calm", "due", "late", "done"]


class Standing(NamedTuple):
    """How the lead stands, in one sentence, and how urgent it is."""

    tone: Tone
    text: str


class LabelledText(NamedTuple):
    """One fact. `href`: the address of a link; empty: no link."""

    label: str
    text: str
    href: str


class Moment(NamedTuple):
    """A line of the history with its time in words."""

    at: str
    text: str
    note: str
    by_prospect: bool


@dataclass(frozen=True, kw_only=True)
class LeadPage:
    """The parts of the page.

    Attributes:
        contacts: The phone number and the address, each with its link, where there is one.
        request: The person's own words, line by line. `request_label`: their origin.
        zone: The name of the time zone of all times.
    """

    name: str
    company: str
    standing: Standing
    contacts: tuple[LabelledText, ...]
    facts: tuple[LabelledText, ...]
    request: tuple[str, ...]
    request_label: str
    reasons: tuple[str, ...]
    history: tuple[Moment, ...]
    zone: str


OWNER: Final = "Owner"
_CONTACTS: Final = frozenset({"Phone", "Email"})
_IN_THE_HEAD: Final = _CONTACTS | {"Contact by", "Promised by"}


def lead_page(
    message: Message, clock: ResponseClock, history: Sequence[TimelineLine], now: datetime, blocked: str = ""
) -> LeadPage:
    """Return the page of a lead as of `now` (business time), with times in the zone of its reader.

    `blocked`: why a lead without an owner waits, as a sentence; empty: unknown, or it has an owner.
    """
    parts, zone, card = words(message), zone_of(message.zone), message.card
    facts = [_labelled(fact) for fact in parts.facts]
    if clock.running and clock.rep is None:
        facts.append(LabelledText(OWNER, f"Nobody yet. {blocked}".rstrip(), ""))
    return LeadPage(
        name=unlinked(card.name, 2 * NAME_CHARS_MAX) or clean(card.email) or clean(card.phone) or "Someone",
        company=unlinked(card.company, 2 * NAME_CHARS_MAX),
        standing=_standing(clock, now, zone),
        contacts=tuple(fact for fact in facts if fact.label in _CONTACTS and fact.href),
        facts=tuple(fact for fact in facts if fact.label not in _IN_THE_HEAD or _unlinked(fact)),
        request=parts.request,
        request_label=text_of(parts.request_label),
        reasons=parts.reasons,
        history=tuple(Moment(day_time(line.at, now, zone), line.text, line.note, line.by_prospect) for line in history),
        zone=str(zone),
    )


def _unlinked(fact: LabelledText) -> bool:
    """Return whether this is a number or an address that cannot be a link, so that no button has it."""
    return fact.label in _CONTACTS and not fact.href


def _labelled(fact: Fact) -> LabelledText:
    return LabelledText(fact.label, text_of(fact.line), fact.href)


def _standing(clock: ResponseClock, now: datetime, zone: ZoneInfo) -> Standing:
    if clock.touched_at is not None:
        return _after_touch(clock, clock.touched_at, now, zone)
    if not clock.running:
        return Standing("done", "There is nothing to do.")
    by, late = at(clock.promise_at, now, zone), now - clock.promise_at
    before = _before(clock, now, zone)
    if late >= timedelta(0):
        ago = f", {lasting(late)} ago" if late >= timedelta(minutes=1) else ""
        return Standing("late", f"{before}Overdue: contact was promised by {by}{ago}.")
    tone: Tone = "calm" if clock.accepted else "due"
    return Standing(tone, f"{before}First contact promised by {by}.")


def _after_touch(clock: ResponseClock, touched_at: datetime, now: datetime, zone: ZoneInfo) -> Standing:
    """Return the standing after the first touch: an attempt alone does not end the work on the lead."""
    if clock.talked_at is None and clock.attempts:
        times = "once, at" if clock.attempts == 1 else f"{clock.attempts} times, last at"
        last = at(clock.attempted_at or touched_at, now, zone)
        return Standing("calm", f"Tried {times} {last}, without an answer yet.")
    if clock.talked_at is None:  # a click was applied whose record was not read yet
        return Standing("done", f"A first contact or attempt was recorded at {at(touched_at, now, zone)}.")
    return Standing("done", f"Contacted at {at(clock.talked_at, now, zone)}.")


def _before(clock: ResponseClock, now: datetime, zone: ZoneInfo) -> str:
    """Return why the pages about the lead pause, or go to its managers, as the beginning of the standing."""
    if clock.rep is None:
        return "No owner yet. "
    until = snoozed_until(clock, now)
    if until is None or until <= now:
        return ""
    waits = paused_until(clock, now) is not None and clock.pauses[-1].kind != SNOOZE
    return f"{'Waits for the person' if waits else 'Snoozed'} until {at(until, now, zone)}. "


def day_time(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Return `10:35`, or with its day `Mon 30 Nov, 10:35`, in this time zone."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    year = f" {local.year}" if local.year != today.year else ""
    return f"{local:%a} {local.day} {local:%b}{year}, {local:%H:%M}"
