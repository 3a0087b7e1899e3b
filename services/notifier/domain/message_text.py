"""The words of a page, and what makes words from outside harmless wherever they are shown.

A rep acts on a page in five seconds: whom to call, at which number, why, and how long the promise still holds. Names,
companies and reasons were typed by strangers: `clean` takes out what is invisible or steers the display, and each place
adds its own escaping (`slack`, `header`, HTML). Words never become a link: what a reader's program would take for an
address or a domain is broken up (`unlinked`). Only the lead's own address and number do, where well formed, in HTML.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from firsthour.kernel.normalisation import has_public_suffix
from services.notifier.domain.message import Message

NAME_CHARS_MAX = 40  # two of them and the promise fit in a Slack header
VALUE_CHARS_MAX = 300
SUBJECT_CHARS_MAX = 200

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)
_NUMBER = re.compile(r"\+[1-9][0-9]{5,14}")
_OWN_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+")
_SPACES = frozenset({"Cc", "Zl", "Zp", "Zs"})
# Format characters: zero-width ones, and those that turn the reading direction. Also lone surrogates and private ones.
_DROPPED = frozenset({"Cf", "Cs", "Co", "Cn"})
_DOMAIN_LIKE = re.compile(r"(?:[^\W_][\w-]{0,62}\.){1,8}[^\W\d_]{2,63}")
_ADDRESS_SIGN = re.compile(r"(?<=\S)@(?=\S{1,253}\.)")
_LINKED = frozenset({"Phone", "Email"})
"""The labels of what a rep may press."""
_SLACK = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def clean(text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
    """One line of visible text: controls become spaces, invisible and direction-turning characters go, and what a
    reader's program would make a link of (`http://`, `www.`) is broken up."""
    kept: list[str] = []
    for char in text[: chars_max * 8]:
        category = unicodedata.category(char)
        if category in _SPACES:
            kept.append(" ")
        elif category not in _DROPPED:
            kept.append(char)
    line = " ".join("".join(kept).split())
    line = re.sub(r"(?i)\bwww\.", "www .", line.replace("://", ": //"))
    return line if len(line) <= chars_max else line[: chars_max - 1].rstrip() + "…"


def unlinked(text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
    """Clean text in which domains (`booking .com`) and addresses (`ann @ corp .com`) are broken up, so that no program
    shows a link that a stranger chose. Words with a dot that end in no public suffix stay as they are."""
    line = clean(text)
    if "." in line:
        line = _DOMAIN_LIKE.sub(_broken, _ADDRESS_SIGN.sub(" @ ", line))
    return clean(line, chars_max)


def _broken(found: re.Match[str]) -> str:
    return found[0].replace(".", " .") if has_public_suffix(found[0]) else found[0]


def slack(text: str, chars_max: int) -> str:
    """Escaped for any Slack text object, and no longer than `chars_max` after it (an entity is never cut in two).

    Slack undoes these three in plain text objects as well as in mrkdwn.
    """
    room = chars_max - 1
    pieces: list[str] = []
    for char in text:
        piece = _SLACK.get(char, char)
        if len(piece) > room:
            return "".join(pieces) + "…"
        pieces.append(piece)
        room -= len(piece)
    return "".join(pieces)


def header(text: str, chars_max: int = SUBJECT_CHARS_MAX) -> str:
    """Safe in a mail header: one line, and nothing in it reads as an encoded word (which could hide a line break)."""
    return clean(text, chars_max).replace("=?", "= ?")


def address(text: str) -> str | None:
    """The email address if it is a plain, well-formed one."""
    return text if len(text) <= 254 and _ADDRESS.fullmatch(text) else None


def own_url(url: str | None) -> str | None:
    """A URL of ours, if nothing in it could end the place it is put in."""
    return url if url and _OWN_URL.fullmatch(url) else None


def lasting(span: timedelta) -> str:
    """A span as people say it: `12 minutes`, `2 h 5 min`, `3 days 4 h`. Cut, never rounded up."""
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
    """`10:00 UTC`, with the day when it is another one than that of `seen_from`."""
    day = "" if moment.date() == seen_from.date() else f"{moment.day} {moment:%b} "
    return f"{day}{moment:%H:%M} UTC"


@dataclass(frozen=True)
class Words:
    """What a page says, before any escaping. Every part is one clean line."""

    subject: str
    facts: tuple[tuple[str, str], ...]  # label, value; at most nine
    todo: tuple[str, ...]  # sentences of ours, nothing from outside
    url: str | None
    footer: str

    def plain(self) -> str:
        """The body of a mail without HTML."""
        width = max((len(label) for label, _ in self.facts), default=0) + 2
        lines = [self.subject, "", *(f"{label + ':':<{width}}{value}" for label, value in self.facts)]
        lines += ["", "What to do:", *(f"- {sentence}" for sentence in self.todo)]
        if self.url:
            lines += ["", f"Open the lead: {self.url}"]
        return "\n".join([*lines, "", self.footer, ""])

    def html(self) -> str:
        """The body of a mail in HTML: no images, no scripts, nothing loaded from anywhere."""
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
    """What this page says."""
    return Words(
        subject=_subject(message),
        facts=tuple((label, value) for label, value in _facts(message) if value),
        todo=_todo(message),
        url=own_url(message.lead_url),
        footer=f"FirstHour, page {message.rung + 1} of assignment {message.epoch}, lead {clean(message.lead_id)}",
    )


def who(message: Message) -> str:
    """The lead in a few words: name and company, or the best there is."""
    card = message.card
    name = unlinked(card.name, NAME_CHARS_MAX) or clean(card.email, NAME_CHARS_MAX) or clean(card.phone, NAME_CHARS_MAX)
    company = unlinked(card.company, NAME_CHARS_MAX)
    return f"{name or 'someone'} ({company})" if company else name or "someone without a name"


def _subject(message: Message) -> str:
    lead, left = who(message), message.promise_at - message.written_at
    by = at(message.promise_at, message.written_at)
    verb = "call" if clean(message.card.phone) else "write to"
    if message.kind == "reassigned" and message.person_name != message.owner_name:
        return f"Moved on: {lead} is now with {unlinked(message.owner_name, NAME_CHARS_MAX)}"
    if left < timedelta(0):
        promise = f"promised by {by}, {lasting(-left)} ago"
        if message.kind == "manager":
            return f"Overdue: nobody has been in touch with {lead}, {promise}"
        return f"Overdue: {verb} {lead} now, {promise}"
    if message.kind == "manager":
        return f"Nobody has been in touch with {lead}: {lasting(left)} left, until {by}"
    start = f"{unlinked(message.urgency, 20).capitalize()} lead"
    if message.kind == "reassigned":
        start = "Now yours"
    elif message.rung > 0:
        start = "Still waiting"
    return f"{start}: {verb} {lead} by {by}, {lasting(left)} left"


def _facts(message: Message) -> list[tuple[str, str]]:
    card = message.card
    score = f"{card.total:.0f}" + (f", grade {unlinked(card.grade, 10)}" if card.grade else "")
    came_in = f"{at(message.submit_at, message.written_at)}, {lasting(message.written_at - message.submit_at)} ago"
    return [
        ("Phone", clean(card.phone)),
        ("Email", clean(card.email)),
        ("Company", unlinked(card.company)),
        ("Title", unlinked(card.title)),
        ("Why now", unlinked(card.because)),
        ("Score", score),
        ("Came in", came_in),
        ("Source", unlinked(card.source)),
        ("Owner", "" if message.kind == "owner" else unlinked(message.owner_name)),
    ]


def _todo(message: Message) -> tuple[str, ...]:
    if message.kind == "reassigned" and message.person_name != message.owner_name:
        return ("Nothing: this lead is no longer yours. If you were in touch already, record the touch.",)
    if message.kind == "manager":
        return (
            "Ask the owner, or be in touch yourself and record it as a touch.",
            "Nobody free? Assign the lead to someone else.",
        )
    return (
        "Be in touch now, then record it as a touch, answered or not: that stops the clock.",
        "Need a moment? Accept it: reminders to you end, the clock runs on.",
        "Not for you? Reject it with the reason, and it moves on.",
    )


def _shown(label: str, value: str) -> str:
    text = html.escape(value)
    if label not in _LINKED:
        return text
    if address(value):
        return f'<a href="mailto:{html.escape(value.replace("%", "%25").replace("?", "%3F"))}">{text}</a>'
    return f'<a href="tel:{value}">{text}</a>' if _NUMBER.fullmatch(value) else text
