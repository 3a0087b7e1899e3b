"""A notice: a message to a team, not to one rep. It goes over the channels that the agreement names under `tell`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from schemas.agreement.ways_out import Contact, Tell
from services.notifier.domain.dispatch import Dispatch, dispatch_id
from services.notifier.domain.outside_text import clean, unlinked
from services.notifier.domain.page_words import Words

OPERATOR: Final = "operator"
SALES: Final = "sales"
MARKETING: Final = "marketing"
TEAMS: Final = (MARKETING, SALES, OPERATOR)
LINES_MAX: Final = 20
LINE_CHARS_MAX: Final = 500


class NoticeText(msgspec.Struct, frozen=True):
    """The text of a notice as it is stored."""

    subject: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A notice on its way. Every text is one clean line."""

    id: str  # the same for every attempt
    team: str
    subject: str
    lines: tuple[str, ...]
    email: str | None = None  # the address of the team, if the agreement has one
    slack: str | None = None  # the channel of the team: `#name` or its id


def contact_of(tell: Tell, team: str) -> Contact | None:
    """Return the recipient of notices to this team. None: the agreement names none."""
    return {MARKETING: tell.marketing, SALES: tell.sales, OPERATOR: tell.operator}[team]


def dispatch_of(contact: Contact, team: str, key: str, text: NoticeText, lead_id: str, real: datetime) -> Dispatch:
    """Return the dispatch of a notice. `key` names the occasion: one occasion is told once."""
    return Dispatch(
        id=dispatch_id("notice", team, key),
        kind="notice",
        channel=contact.by[0],
        channels=contact.by,
        type=team,
        lead_id=lead_id,
        body=msgspec.json.encode(text).decode(),
        created_at=real,
        next_at=real,
    )


def text_of(subject: str, lines: Sequence[str]) -> NoticeText:
    """Return the text of a notice: clean lines, in which nothing from outside becomes a link."""
    return NoticeText(clean(subject), tuple(unlinked(line, LINE_CHARS_MAX) for line in lines[:LINES_MAX]))


def notice_of(dispatch: Dispatch, contact: Contact) -> Notice:
    """Return the notice of a dispatch to its recipient of now."""
    text = msgspec.json.decode(dispatch.body, type=NoticeText)
    return Notice(
        id=dispatch.id,
        team=dispatch.type,
        subject=text.subject,
        lines=text.lines,
        email=contact.email,
        slack=contact.slack,
    )


def words(notice: Notice) -> Words:
    """Return the notice in the parts of a page, for channels that show pages."""
    footer = f"FirstHour tells {notice.team}. The recipients are in agreement.yaml, under `tell`."
    return Words(headline=notice.subject, subject=notice.subject, facts=(), todo=notice.lines, footer=footer)
