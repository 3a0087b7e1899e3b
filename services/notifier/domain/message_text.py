"""The wording of a page.

A page shows at a glance whom to call, at which number, until when, and why. Its words come from the lead (`card_text`) and
from the state of the assignment. It names no ids and none of our internal terms, and its subject counts no time down.
"""

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from services.notifier.domain import card_text
from services.notifier.domain.card_text import lead_name
from services.notifier.domain.loss_text import reason_of, tried_by
from services.notifier.domain.message import Message
from services.notifier.domain.outside_text import NAME_CHARS_MAX, clean, own_url, unlinked
from services.notifier.domain.page_words import Fact, Words
from services.notifier.domain.times import at, earlier, instant, zone_of
from services.notifier.domain.voices import (
    LOST,
    LOST_WITHOUT_OWNER,
    OF_WAITING,
    REFUSED_TO_OWNER,
    REFUSED_WITHOUT_OWNER,
    REMINDED,
    TO_MANAGER,
    TRIED,
    VOICES,
    Voice,
)

URGENCY_CHARS_MAX: Final = 20


def words(message: Message) -> Words:
    """Return the wording of a page."""
    if message.kind == "test":
        return _test(message)
    card, now, zone = message.card, message.written_at, zone_of(message.zone)
    voice = voice_of(message)
    names = _names(message)
    headline = (voice.overdue if _overdue(message) else voice.headline).format_map(names)
    page = Words(
        headline=headline,
        subject=headline + _by(message, voice, zone) + (f", and {len(message.also)} more" if message.also else ""),
        facts=tuple(_facts(message, voice, zone)),
        request=card_text.request_lines(card),
        request_label=card_text.request_label(card, now, zone),
        reasons=card_text.reasons_of(card),
        activity=card_text.activity_lines(card, now, zone),
        also=message.also,
        todo=voice.todo,
        actions=voice.actions,
        url=own_url(message.lead_url),
        footer=voice.footer.format_map(names),
    )
    # Two people never call the same person: such a reader gets no number, no address and nothing to talk about.
    return page if voice.contacts else replace(page, request=(), reasons=(), activity=())


def settled(page: Words, message: Message) -> Words:
    """Return the wording of a page that asks for nothing any more: its headline only names the lead."""
    name = lead_name(message.card)
    subject = f"{name}: {message.standing.text}" if message.standing.text else name
    page = replace(page, headline=name, subject=subject, todo=())
    if not message.standing.ended:
        return page
    return replace(page, facts=(), request=(), reasons=(), activity=(), url=None, footer="")


def _test(message: Message) -> Words:
    """Return the wording of a test page. It concerns no lead."""
    subject = f"Test page for {unlinked(message.person_name, NAME_CHARS_MAX)}: no lead is waiting"
    return Words(
        headline=subject,
        subject=subject,
        facts=(Fact("Sent", (instant(message.written_at, message.written_at, zone_of(message.zone)),)),),
        todo=("Nothing: pages about leads will reach you here.",),
        footer="FirstHour sent this page because a test of your channels was requested.",
    )


def voice_of(message: Message) -> Voice:
    """Return the sentences for this page."""
    if message.kind == "reassigned" and message.person_name != message.owner_name:
        return LOST
    if message.kind == "lost":
        return LOST if message.owner_name else LOST_WITHOUT_OWNER
    if message.kind == "refused" and not message.owner_name:
        return REFUSED_WITHOUT_OWNER
    if message.kind == "refused" and message.is_owner:
        return REFUSED_TO_OWNER
    if message.kind == "handed_on" and message.is_untalked:
        return TRIED
    if message.kind in TO_MANAGER and message.is_owner:
        return REMINDED
    if not message.owner_name and message.kind in OF_WAITING:
        return OF_WAITING[message.kind]
    return REMINDED if message.kind == "owner" and message.rung > 0 else VOICES[message.kind]


def _overdue(message: Message) -> bool:
    return message.promise_at <= message.written_at


def _names(message: Message) -> Mapping[str, str]:
    """Return the texts that fill the sentences of a voice."""
    lead = lead_name(message.card)
    return {
        "lead": lead,
        "call": f"{'call' if clean(message.card.phone) else 'write to'} {lead}",
        "owner": unlinked(message.owner_name, NAME_CHARS_MAX),
        "urgency": unlinked(message.urgency, URGENCY_CHARS_MAX).capitalize(),
    }


def _by(message: Message, voice: Voice, zone: ZoneInfo) -> str:
    """Return the deadline as the end of the subject. It is an absolute time, because a subject is read later."""
    if not voice.promised:
        return ""
    by = at(message.promise_at, message.written_at, zone)
    return f" by {by}" if voice.asks and not _overdue(message) else f", promised by {by}"


def _facts(message: Message, voice: Voice, zone: ZoneInfo) -> list[Fact]:
    card, now = message.card, message.written_at
    facts: list[Fact] = []
    if message.previous is not None and not voice.contacts:
        facts.append(Fact("Why", (reason_of(message.previous, message.previous_by),)))
    if voice.promised:
        label = "Contact by" if voice.asks and not _overdue(message) else "Promised by"
        facts.append(Fact(label, (instant(message.promise_at, now, zone),)))
    if message.kind == "next_attempt":
        of = f" of {message.attempts_promised}" if message.attempts_promised else ""
        facts.append(Fact("Attempts", (f"{message.attempts}{of} so far",)))
    if voice.contacts:
        home, read = zone if message.is_own_zone else None, "opened" if message.is_opened else "sent"
        facts += card_text.contact_facts(card, now, zone, home, read)
    facts += card_text.about_facts(card)
    if message.previous is not None and voice.contacts:
        facts.append(Fact("Before you", (tried_by(message.previous, message.previous_name),)))
    facts.append(Fact("Received", (earlier(message.submit_at, now, zone),)))
    owner = unlinked(message.owner_name) if voice.names_owner else ""
    return [*facts, Fact("Owner", (owner,))] if owner else facts
