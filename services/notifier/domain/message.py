"""The content of a page: everything that its wording needs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple, Self

from schemas.agreement.response import Rung
from schemas.events.routes import LeadCard
from schemas.team import Team
from services.notifier.domain.clock import PreviousOwner, ResponseClock
from services.notifier.domain.page import TO_OWNER, WAITING, Kind, Page, index_of, page_id, slack_channel
from services.notifier.domain.page_words import Further
from services.notifier.domain.standing import OPEN, PageStanding, standing
from services.notifier.domain.terms import Terms

REP: Final = "rep:"
"""The beginning of the author of a record who is a rep."""


class SlackPlace(NamedTuple):
    """The place of a message in Slack: its conversation, and its time stamp there."""

    channel: str
    ts: str


class ActionLink(NamedTuple):
    """A signed link of a page: its action (`open` shows the lead), and its address."""

    action: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """The content of one page to one person. All times are business time."""

    page_id: str  # the same for every attempt, so that the provider can recognise a duplicate
    rung: int
    kind: Kind
    person_name: str
    person_email: str
    person_slack: str | None  # their Slack user id, or the channel
    person_phone: str = ""  # as E.164; empty: unknown
    lead_id: str
    card: LeadCard  # text from outside: shown through `message_text` only
    urgency: str
    submit_at: datetime
    promise_at: datetime
    written_at: datetime  # when the page was claimed: ages count to here
    owner_name: str
    is_owner: bool = False  # the recipient is the owner
    lead_url: str | None = None  # where the lead can be opened; None: no link
    epoch: int
    zone: str | None = (
        None  # the time zone of the recipient's calendar, else the owner's; None: unknown, times are in UTC
    )
    is_own_zone: bool = True  # the zone is that of the recipient
    is_opened: bool = False  # it is shown behind a link, as of `written_at`, and is not sent
    also: tuple[Further, ...] = ()  # the pages that this message carries beside its own
    attempts: int = 0  # touches without an answer since the submit
    is_untalked: bool = False  # there were attempts since the submit, and no conversation
    attempts_promised: int = 0  # to a person who does not answer; 0: none are
    previous: PreviousOwner | None = None  # to a rep who lost the lead: that assignment; to the owner: the one before
    previous_name: str = ""
    previous_by: str = ""  # the name of the person who ended that assignment; empty: none did
    thread_id: str | None = None  # the first page of the same assignment; None: this one is the first
    standing: PageStanding = OPEN  # what became of the assignment, and the actions that are left
    public_url: str | None = None  # the base of links; None: no links
    links: tuple[ActionLink, ...] = ()  # signed when the page is sent
    mail_thread: str | None = None  # the Message-ID of the first mail about the lead to this person; None: this one
    slack_thread: SlackPlace | None = None  # the first message of the assignment to this person; None: this one

    @property
    def identity(self) -> str:
        """The look of the message, apart from the lead of its own page: equal ones need no update."""
        lines = "\n".join(line.headline for line in self.also)
        return f"{self.standing.identity}|{sha256(lines.encode()).hexdigest()}" if lines else self.standing.identity

    def completed(self, *, lead_url: str | None, links: tuple[ActionLink, ...], mail_thread: str | None) -> Self:
        """Return the message with the parts that are known when it is sent."""
        return replace(self, lead_url=lead_url, links=links, mail_thread=mail_thread)

    def threaded(self, place: SlackPlace | None) -> Self:
        """Return the message as a reply to the message at this place; None: as one of its own."""
        return self if place == self.slack_thread else replace(self, slack_thread=place)

    def noticed(self, notice: str | None) -> Self:
        """Return the message with a notice for its person."""
        return replace(self, standing=replace(self.standing, notice=notice))


def message_of(page: Page, clock: ResponseClock, terms: Terms, written_at: datetime, public_url: str | None) -> Message:
    """Return the content of a page as of `written_at` (business time), without its links. `public_url` None: no links."""
    reps = terms.team.rep_by_id
    person = reps.get(page.person)
    owner = clock.rep or ""
    if page.kind in TO_OWNER and (page.epoch != clock.epoch or clock.rep is None):
        owner = page.person
    previous = _previous_of(page, clock)
    return Message(
        page_id=page.id,
        rung=index_of(page.rung),
        kind=page.kind,
        person_name=person.name if person else page.person,
        person_email=person.email if person else "",
        person_phone=(person.phone or "") if person else "",
        person_slack=slack_channel(page.person) if page.kind == "channel" else person.slack if person else None,
        lead_id=page.lead_id,
        card=clock.card,
        urgency=clock.urgency,
        submit_at=clock.submit_at,
        promise_at=clock.promise_at,
        written_at=written_at,
        owner_name=_name(terms.team, owner),
        is_owner=page.person == clock.rep,
        public_url=public_url,
        epoch=page.epoch,
        zone=terms.zone(page.person) or terms.zone(owner),
        is_own_zone=terms.zone(page.person) is not None,
        previous=previous,
        previous_name=_name(terms.team, previous.rep) if previous else "",
        previous_by=_name(terms.team, previous.by[len(REP) :]) if previous and previous.by.startswith(REP) else "",
        thread_id=_thread(page, terms.ladder if clock.ladder is None else clock.ladder),
        standing=standing(page, clock, terms),
        attempts=clock.attempts,
        is_untalked=clock.attempts > 0 and clock.talked_at is None,
        attempts_promised=terms.cadence.attempts if terms.cadence else 0,
    )


def _name(team: Team, rep: str) -> str:
    """Return the name of a rep. One who has left the team file has only an id."""
    return team.rep_by_id[rep].name if rep in team.rep_by_id else rep


def _previous_of(page: Page, clock: ResponseClock) -> PreviousOwner | None:
    """Return the assignment that the page tells of: the lost one, or the one before the owner's."""
    previous = clock.previous
    if previous is None or (page.kind == "lost") != (previous.epoch == page.epoch):
        return None
    return previous if page.kind in ("lost", "handed_on") or page.kind in TO_OWNER else None


def _thread(page: Page, ladder: Iterable[Rung]) -> str | None:
    """Return the first page of this assignment to the same part (owner, cover ...); None: this one is the first."""
    part = (
        "owner"
        if page.kind in TO_OWNER or page.kind in ("lost", "refused")
        else "manager"
        if page.kind in ("reminder", "missed")
        else page.kind
    )
    first = next((index for index, rung in enumerate(ladder) if rung.page == part), page.rung)
    if page.kind == "reminder" and index_of(page.rung) > WAITING:  # of a lead without an owner
        first = page.rung - index_of(page.rung) + WAITING
    return None if first >= page.rung else page_id(page.lead_id, page.epoch, first, page.person)
