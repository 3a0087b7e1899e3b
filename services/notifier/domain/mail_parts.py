"""The parts of a mail about a lead, for its text and its HTML, and the subject and the references of its thread."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from services.notifier.domain.card_text import lead_name
from services.notifier.domain.message import Message
from services.notifier.domain.message_text import voice_of, words
from services.notifier.domain.outside_text import own_url, unlinked
from services.notifier.domain.page_words import Words, sections, text_of
from services.notifier.domain.voices import ACTIONS

_THREADS: Final = UUID("5b0c3f0a-3b0e-5c1e-8d77-2f6f1f9d0c42")
_REPLY: Final = "A reply to this mail does not reach the lead."
_CONTACTS: Final[Mapping[str, str]] = {"Phone": "Call", "Email": "Write to"}


class MailFact(NamedTuple):
    """One labelled value. `href`: the address of a link; empty: no link."""

    label: str
    text: str
    href: str = ""


class MailSection(NamedTuple):
    """A heading and lines."""

    name: str
    heading: str
    lines: tuple[str, ...]
    urls: tuple[str | None, ...] = ()  # of each line, if they are further pages

    @property
    def pairs(self) -> tuple[tuple[str, str | None], ...]:
        """Each line with its link; None: it has none."""
        return tuple(zip(self.lines, self.urls or (None,) * len(self.lines), strict=True))


class MailAction(NamedTuple):
    """A link that acts, with its label."""

    label: str
    url: str


@dataclass(frozen=True)
class MailParts:
    """The parts of a mail. `contacts`: the links by which the person is called or written to."""

    words: Words
    facts: tuple[MailFact, ...]
    contacts: tuple[MailFact, ...]
    parts: tuple[MailSection, ...]
    actions: tuple[MailAction, ...]
    question: str = ""  # above the actions
    says_todo: bool = True  # what to do is said in sentences, and not by the actions alone
    reply: str = ""  # where a reply does not go


def mail_parts(message: Message) -> MailParts:
    """Return the parts of the mail of a page."""
    page = words(message)
    facts = tuple(MailFact(fact.label, text_of(fact.line), fact.href) for fact in page.facts)
    contacts = tuple(
        MailFact(f"{_CONTACTS[fact.label]} {fact.text}", fact.text, fact.href)
        for fact in facts
        if fact.href and fact.label in _CONTACTS
    )
    parts = tuple(
        MailSection(part.name, text_of(part.heading), tuple(text_of(line) for line in part.lines), part.urls)
        for part in sections(page)
    )
    if message.kind == "test":
        return MailParts(page, facts, contacts, parts, ())
    voice, actions = voice_of(message), tuple(_actions(message))
    question = "How did it go?" if voice.contacts else "Were you in touch before? Then say so."
    says_todo = not (actions and voice.promised and voice.asks)
    return MailParts(page, facts, contacts, parts, actions, question, says_todo, _REPLY)


def _actions(message: Message) -> Iterator[MailAction]:
    """Yield the links that act, the most usual first. Links are of this installation, and are checked all the same."""
    urls = {link.action: own_url(link.url) for link in message.links}
    for action, action_words in ACTIONS.items():
        url = urls.get(action)
        if url is not None:
            yield MailAction(action_words.label, url)


def subject_of(message: Message) -> str:
    """Return the subject. All mails about a lead have the same, so that a mailbox shows them as one thread."""
    if message.kind == "test":
        return words(message).subject
    subject = f"{unlinked(message.urgency, 20).capitalize()} lead: {lead_name(message.card)}"
    return f"Re: {subject}" if message.mail_thread else subject


def thread_of(message: Message) -> str | None:
    """Return the name of the thread of a lead, to which every mail about it refers; None: the page is about no lead."""
    return None if message.kind == "test" else f"thread-{uuid5(_THREADS, message.lead_id)}"


def plain(mail: MailParts) -> str:
    """Return the body of a plain text mail."""
    width = max((len(fact.label) for fact in mail.facts), default=0) + 2
    lines = [mail.words.subject, "", *(f"{fact.label + ':':<{width}}{fact.text}" for fact in mail.facts)]
    lines += [f"{'Write to:':<{width}}{fact.href}" for fact in mail.contacts if fact.href.startswith("mailto:")]
    for part in mail.parts:
        if part.name == "todo" and not mail.says_todo:
            continue  # the links say it
        bullet = "  " if part.name == "request" else "- "
        lines += ["", f"{part.heading}:"]
        lines += [f"{bullet}{line}" + (f"\n  Open it: {url}" if url else "") for line, url in part.pairs]
    if mail.actions:
        lines += ["", f"{mail.question} Each link opens a page that asks once more."]
        lines += [f"- {action.label}: {action.url}" for action in mail.actions]
    if mail.words.url:
        lines += ["", f"Open the lead: {mail.words.url}"]
    return "\n".join([*lines, "", mail.words.footer, *filter(None, (mail.reply,)), ""])
