"""The wording of a page.

A page shows at a glance whom to call, at which number, until when, and why. Its words come from the lead (`card_text`) and
from the state of the assignment. It names no ids and none of our internal terms, and its subject counts no time down.
"""

from typing import Final
from zoneinfo import ZoneInfo

from services.notifier.domain import card_text
from services.notifier.domain.card_text import lead_name
from services.notifier.domain.message import Message
from services.notifier.domain.outside_text import NAME_CHARS_MAX, clean, own_url, unlinked
from services.notifier.domain.page_words import ActionWords, Fact, Words
from services.notifier.domain.times import at, earlier, instant, zone_of

OWNER_ACTIONS: Final = (
    ActionWords("reached", "Reached them", "You have been in touch with the person. The clock stops."),
    ActionWords("no_answer", "No answer", "You have tried to reach the person. The attempt counts."),
    ActionWords("accept", "Accept", "You take the lead. Reminders to you end, but the clock keeps running."),
    ActionWords("snooze", "Snooze", "Pages about this lead pause until a time that you choose."),
    ActionWords("hand_over", "Hand over", "A colleague gets the lead."),
    ActionWords("reject", "Not a fit", "You give the lead back with a reason."),
)
MANAGER_ACTIONS: Final = tuple(
    action for action in OWNER_ACTIONS if action.action in ("reached", "no_answer", "hand_over")
)


def words(message: Message) -> Words:
    """Return the wording of a page."""
    if message.kind == "test":
        return _test(message)
    card, now, zone = message.card, message.written_at, zone_of(message.zone)
    headline = _headline(message)
    return Words(
        headline=headline,
        subject=headline + _by(message, zone),
        facts=tuple(_facts(message, zone)),
        request=card_text.request_lines(card),
        request_label=card_text.request_label(card, now, zone),
        reasons=card_text.reasons_of(card),
        activity=card_text.activity_lines(card, now, zone),
        todo=_todo(message),
        actions=_actions(message),
        url=own_url(message.lead_url),
        footer=_footer(message),
    )


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


def _lost(message: Message) -> bool:
    """Return whether the page tells a former owner that the lead has another owner."""
    return message.kind == "reassigned" and message.person_name != message.owner_name


def _overdue(message: Message) -> bool:
    return message.promise_at < message.written_at


def _headline(message: Message) -> str:
    lead, overdue = lead_name(message.card), _overdue(message)
    if _lost(message):
        return f"Moved on: {lead} is now with {unlinked(message.owner_name, NAME_CHARS_MAX)}"
    if message.kind == "manager":
        return f"{'Overdue: no' if overdue else 'No'} contact yet with {lead}"
    verb = "call" if clean(message.card.phone) else "write to"
    if overdue:
        return f"Overdue: {verb} {lead} now"
    start = f"{unlinked(message.urgency, 20).capitalize()} lead"
    if message.kind == "reassigned":
        start = "Now yours"
    elif message.rung > 0:
        start = "Still waiting"
    return f"{start}: {verb} {lead}"


def _by(message: Message, zone: ZoneInfo) -> str:
    """Return the deadline as the end of the subject. It is an absolute time, because a subject is read later."""
    if _lost(message):
        return ""
    by = at(message.promise_at, message.written_at, zone)
    return f", promised by {by}" if message.kind == "manager" or _overdue(message) else f" by {by}"


def _facts(message: Message, zone: ZoneInfo) -> list[Fact]:
    card, now = message.card, message.written_at
    facts: list[Fact] = []
    if not _lost(message):
        verb = "Promised by" if _overdue(message) or message.kind == "manager" else "Contact by"
        facts.append(Fact(verb, (instant(message.promise_at, now, zone),)))
    facts += card_text.contact_facts(card, now, zone)
    facts += card_text.about_facts(card)
    facts.append(Fact("Received", (earlier(message.submit_at, now, zone),)))
    owner = "" if message.kind == "owner" else unlinked(message.owner_name)
    return [*facts, Fact("Owner", (owner,))] if owner else facts


def _actions(message: Message) -> tuple[ActionWords, ...]:
    if _lost(message):
        return ()
    return MANAGER_ACTIONS if message.kind == "manager" else OWNER_ACTIONS


def _todo(message: Message) -> tuple[str, ...]:
    if _lost(message):
        return ("Nothing: this lead is no longer yours. If you have contacted the lead already, record a touch.",)
    if message.kind == "manager":
        return (
            "Ask the owner, or contact the lead yourself and record a touch.",
            "Owner not free? Assign the lead to someone else.",
        )
    return (
        "Contact the lead now and record a touch, answered or not. The touch stops the clock.",
        "Need a moment? Accept the lead. Reminders to you end, but the clock keeps running.",
        "Not for you? Reject the lead with a reason. It then goes to someone else.",
    )


def _footer(message: Message) -> str:
    if _lost(message):
        return "FirstHour sent this page because you were the owner of this lead."
    if message.kind == "manager":
        return f"FirstHour sent this page because {unlinked(message.owner_name, NAME_CHARS_MAX)} is the owner of this lead."
    return "FirstHour sent this page because you are the owner of this lead."
