"""The parts of a page, before a format escapes and arranges them. Every text is clean, and has no markup.

A line is a sequence of texts and instants. Slack shows an instant by its own date format, in the zone of each reader and
always current. A mail shows its `text`: an absolute time in the zone of the recipient.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from services.notifier.domain.outside_text import own_url

ALSO_LINES_MAX = 15
"""Headlines in one part: at their greatest length they fit into a section of Slack."""
ActionName = Literal["accept", "reached", "no_answer", "reject", "snooze", "hand_over"]


class Instant(msgspec.Struct, frozen=True):
    """One instant in a line. `ago`: shown as an age where the format keeps ages current."""

    at: datetime
    text: str
    ago: bool = False


Line = tuple[str | Instant, ...]


def text_of(line: Line) -> str:
    """Return a line as text, for formats that cannot keep times current."""
    return "".join([part if isinstance(part, str) else part.text for part in line])


class Fact(msgspec.Struct, frozen=True):
    """One labelled line. `href`: the `tel:` or `mailto:` of the whole line; empty: no link."""

    label: str
    line: Line
    href: str = ""


class Further(msgspec.Struct, frozen=True, array_like=True):
    """A further page that a message carries. It is stored without `url`, which is signed for each message."""

    headline: str
    page_id: str = ""  # empty: unknown, in a row of an older release
    url: str | None = None
    opens: bool = True  # the recipient may open the lead


class ActionWords(msgspec.Struct, frozen=True):
    """One action of the recipient: the label of its button or link, and its effect as a sentence."""

    action: ActionName
    label: str
    effect: str


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a page for its recipient.

    Attributes:
        headline: The reason to look, without any time.
        subject: The headline with the deadline as an absolute time: for a mail, a push notification, a terminal.
        facts: How to reach the person, until when, and the facts about the person; at most ten.
        request: The person's own words, line by line; empty: none are known.
        request_label: The origin of the words and their time.
        reasons: Why the agreement wants this person contacted, the strongest reason first.
        activity: The newest acts of the person, newest first.
        also: The further pages that this message carries.
        todo: Our own sentences, no text from outside.
        actions: What the recipient can do with one tap, the most usual first.
        url: Where the lead can be opened; None: no link.
        footer: Why the recipient gets this page.
    """

    headline: str
    subject: str
    facts: tuple[Fact, ...]
    request: tuple[str, ...] = ()
    request_label: Line = ()
    reasons: tuple[str, ...] = ()
    activity: tuple[Line, ...] = ()
    also: tuple[Further, ...] = ()
    todo: tuple[str, ...] = ()
    actions: tuple[ActionWords, ...] = ()
    url: str | None = None
    footer: str = ""


class Section(NamedTuple):
    """A part of a page below its facts: a heading and lines."""

    name: Literal["request", "also", "reasons", "activity", "todo"]
    heading: Line
    lines: tuple[Line, ...]
    urls: tuple[str | None, ...] = ()  # of each line, if they are further pages


def _also(further: tuple[Further, ...]) -> Iterator[Section]:
    """Yield the further pages, in parts that fit into a block of every format."""
    for start in range(0, len(further), ALSO_LINES_MAX):
        part = further[start : start + ALSO_LINES_MAX]
        lines, urls = tuple((page.headline,) for page in part), tuple(own_url(page.url) for page in part)
        yield Section("also", ("Also for you" if start == 0 else "And",), lines, urls)


def content_of(words: Words) -> dict[str, dict[str, Any]]:
    """Return facts and sections as texts by their names, for programs."""
    return {
        "facts": {fact.label: text_of(fact.line) for fact in words.facts},
        "sections": {part.name: [text_of(line) for line in part.lines] for part in sections(words)},
    }


def sections(words: Words) -> Iterator[Section]:
    """Yield the parts of a page below its facts that are not empty, the most important first."""
    parts = (
        Section("request", words.request_label, tuple((line,) for line in words.request)),
        *_also(words.also),
        Section("reasons", ("Why now",), tuple((reason,) for reason in words.reasons)),
        Section("activity", ("Recent activity",), words.activity),
        Section("todo", ("What to do",), tuple((sentence,) for sentence in words.todo)),
    )
    return (part for part in parts if part.lines)
