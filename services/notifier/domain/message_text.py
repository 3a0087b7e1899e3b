"""The wording of a page.

A page shows at a glance whom to call, at which number, why, and how much time is left. Text from outside is cleaned
(`outside_text`) and never becomes a link. The only exceptions are the lead's own address and number in HTML, where they
are well formed.
"""

import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.notifier.domain.message import Message
from services.notifier.domain.outside_text import NAME_CHARS_MAX, address, clean, own_url, unlinked

_NUMBER = re.compile(r"\+[1-9][0-9]{5,14}")
_LINKED = frozenset({"Phone", "Email"})
"""The labels of values that become links in HTML."""


def lasting(span: timedelta) -> str:
    """Return a span for people: `12 minutes`, `2 h 5 min`, `3 days 4 h`. It is cut, never rounded up."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    days, hours = divmod(minutes // 60, 24)
    return f"{days} day{'s' if days > 1 else ''}" + (f" {hours} h" if hours else "")


def at(moment: datetime, seen_from: datetime) -> str:
    """Return `10:00 UTC`, with the date if it differs from that of `seen_from`."""
    day = "" if moment.date() == seen_from.date() else f"{moment.day} {moment:%b} "
    return f"{day}{moment:%H:%M} UTC"


@dataclass(frozen=True)
class Words:
    """The parts of a page before escaping. Every part is one clean line."""

    subject: str
    facts: tuple[tuple[str, str], ...]  # label, value; at most nine
    todo: tuple[str, ...]  # our own sentences, no text from outside
    url: str | None
    footer: str

    def plain(self) -> str:
        """Return the body of a plain text mail."""
        width = max((len(label) for label, _ in self.facts), default=0) + 2
        lines = [self.subject, "", *(f"{label + ':':<{width}}{value}" for label, value in self.facts)]
        lines += ["", "What to do:", *(f"- {sentence}" for sentence in self.todo)]
        if self.url:
            lines += ["", f"Open the lead: {self.url}"]
        return "\n".join([*lines, "", self.footer, ""])

    def html(self) -> str:
        """Return the body of an HTML mail: no images, no scripts, nothing that is loaded."""
        rows = "".join(
            f'<tr><td style="color:#666;padding:2px 12px 2px 0">{html.escape(label)}</td><td>{_shown(label, value)}</td></tr>'
            for label, value in self.facts
        )
        todo = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.todo)
        link = f'<p><a href="{html.escape(self.url)}">Open the lead</a></p>' if self.url else ""
        return (
            '<!doctype html><html lang="en"><head><meta name="format-detection" content="telephone=no"></head><body style="font:15px/1.4 sans-serif;color:#111">'
            f'<h1 style="font-size:18px">{html.escape(self.subject)}</h1><table>{rows}</table>'
            f"<p>What to do:</p><ul>{todo}</ul>{link}"
            f'<p style="color:#666">{html.escape(self.footer)}</p></body></html>\n'
        )


def words(message: Message) -> Words:
    """Return the wording of a page."""
    return Words(
        subject=_subject(message),
        facts=tuple((label, value) for label, value in _facts(message) if value),
        todo=_todo(message),
        url=own_url(message.lead_url),
        footer=f"FirstHour, page {message.rung + 1} of assignment {message.epoch}, lead {clean(message.lead_id)}",
    )


def lead_name(message: Message) -> str:
    """Return a short name of the lead: name and company, else its address or phone number."""
    card = message.card
    name = unlinked(card.name, NAME_CHARS_MAX) or clean(card.email, NAME_CHARS_MAX) or clean(card.phone, NAME_CHARS_MAX)
    company = unlinked(card.company, NAME_CHARS_MAX)
    return f"{name or 'someone'} ({company})" if company else name or "someone without a name"


def _subject(message: Message) -> str:
    lead, left = lead_name(message), message.promise_at - message.written_at
    by = at(message.promise_at, message.written_at)
    verb = "call" if clean(message.card.phone) else "write to"
    if message.kind == "reassigned" and message.person_name != message.owner_name:
        return f"Moved on: {lead} is now with {unlinked(message.owner_name, NAME_CHARS_MAX)}"
    if left < timedelta(0):
        promise = f"promised by {by}, {lasting(-left)} ago"
        if message.kind == "manager":
            return f"Overdue: no contact yet with {lead}, {promise}"
        return f"Overdue: {verb} {lead} now, {promise}"
    if message.kind == "manager":
        return f"No contact yet with {lead}: {lasting(left)} left, until {by}"
    start = f"{unlinked(message.urgency, 20).capitalize()} lead"
    if message.kind == "reassigned":
        start = "Now yours"
    elif message.rung > 0:
        start = "Still waiting"
    return f"{start}: {verb} {lead} by {by}, {lasting(left)} left"


def _facts(message: Message) -> list[tuple[str, str]]:
    card = message.card
    score = f"{card.total:.0f}" + (f", grade {unlinked(card.grade, 10)}" if card.grade else "")
    received = f"{at(message.submit_at, message.written_at)}, {lasting(message.written_at - message.submit_at)} ago"
    return [
        ("Phone", clean(card.phone)),
        ("Email", clean(card.email)),
        ("Company", unlinked(card.company)),
        ("Title", unlinked(card.title)),
        ("Why now", unlinked(card.because)),
        ("Score", score),
        ("Received", received),
        ("Source", unlinked(card.source)),
        ("Owner", "" if message.kind == "owner" else unlinked(message.owner_name)),
    ]


def _todo(message: Message) -> tuple[str, ...]:
    if message.kind == "reassigned" and message.person_name != message.owner_name:
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


def _shown(label: str, value: str) -> str:
    text = html.escape(value)
    if label not in _LINKED:
        return text
    if address(value):
        return f'<a href="mailto:{html.escape(value.replace("%", "%25").replace("?", "%3F"))}">{text}</a>'
    return f'<a href="tel:{value}">{text}</a>' if _NUMBER.fullmatch(value) else text
