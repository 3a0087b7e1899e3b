"""The words of a page about the lead. Everything on the card comes from outside: each text here is cleaned and bounded."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from firsthour.kernel.countries import country_code
from firsthour.kernel.normalisation.phones import readable_phone
from firsthour.kernel.time_zones import country_name
from schemas.events.leads import RecentActivity
from schemas.events.routes import LeadCard
from services.notifier.domain.outside_text import NAME_CHARS_MAX, address, clean, number, unlinked
from services.notifier.domain.page_words import Fact, Line
from services.notifier.domain.times import earlier, instant, lasting
from services.notifier.domain.whereabouts import LocalTime, local_time, place_of

ACTIVITY_MAX: Final = 5
EMPLOYEES_MAX: Final = 10_000_000  # of a company; a larger number is a mistake
REQUEST_LINES_MAX: Final = 8
REQUEST_CHARS_MAX: Final = 900
SUBJECT_CHARS_MAX: Final = 60
TEXTS_KEPT: Final = 256
"""Names of pages, forms and papers whose words are remembered: those of a website are few."""
MAIL_SUBJECT: Final = "Your request"
"""The subject of the rep's own mail to the person."""

_ACTS: Final[Mapping[str, tuple[str, str]]] = {
    "form.submitted": ("Sent a form", "Sent the form {}"),
    "page.viewed": ("Visited the website", "Visited {}"),
    "content.downloaded": ("Downloaded something", "Downloaded {}"),
    "email.opened": ("Opened an email", "Opened the email {}"),
    "email.clicked": ("Clicked in an email", "Clicked in the email {}"),
    "webinar.attended": ("Attended a webinar", "Attended the webinar {}"),
    "trial.started": ("Started a trial", "Started a trial of {}"),
    "meeting.booked": ("Booked a meeting", "Booked a meeting: {}"),
    "chat.started": ("Started a chat", "Started a chat: {}"),
}
"""The words of an act without and with its subject."""
HOME: Final = "the home page"


def lead_name(card: LeadCard) -> str:
    """Return a short name of the lead: name and company, else its address or phone number."""
    name = unlinked(card.name, NAME_CHARS_MAX) or clean(card.email, NAME_CHARS_MAX) or clean(card.phone, NAME_CHARS_MAX)
    repeated = not card.name and card.email.endswith(f"@{card.company}")
    company = "" if repeated else unlinked(card.company, NAME_CHARS_MAX)
    return f"{name or 'someone'} ({company})" if company else name or "someone without a name"


# --- how to reach the person ------------------------------------------------------------------------------------------


def contact_facts(
    card: LeadCard, now: datetime, zone: ZoneInfo, home: ZoneInfo | None, read: str = "sent"
) -> list[Fact]:
    """Return how to reach the person.

    Args:
        now: when the page is written.
        zone: in which times are written.
        home: the zone of the recipient, from which a difference counts; None: unknown.
        read: what happens now: the page is `sent`, or `opened`.
    """
    phone, email = clean(card.phone), clean(card.email)
    facts = []
    if phone:
        facts.append(Fact("Phone", (readable_phone(phone),), f"tel:{phone}" if number(phone) else ""))
    if email:
        href = f"mailto:{quote(email, safe='@')}?subject={quote(MAIL_SUBJECT)}" if address(email) else ""
        facts.append(Fact("Email", (email,), href))
    place = place_of(card)
    if place is not None:
        facts.append(Fact("Their time", local_time_line(local_time(place, now), now, zone, home, read)))
    return facts


def local_time_line(local: LocalTime, now: datetime, zone: ZoneInfo, home: ZoneInfo | None, read: str = "sent") -> Line:
    """Return the local time of the person, and whether it is office hours there."""
    first = f"{local.earliest:%a %H:%M}"
    if not local.sure:
        last = f"{local.latest:%a %H:%M}"
        hours = {True: "office hours in all of it", False: "outside office hours", None: "office hours in parts of it"}
        return (f"{first} to {last} when {read}, {local.place} has several times; {hours[local.in_office]}",)
    here = f"{first} in {local.place} when {read}{_difference(local, now, home)}; "
    state = "office hours" if local.in_office else "outside office hours"
    if local.changes_at is None:
        return (here + state,)
    return (f"{here}{state} until ", instant(local.changes_at, now, zone))


def _difference(local: LocalTime, now: datetime, home: ZoneInfo | None) -> str:
    if home is None:
        return ""
    ahead = (local.earliest.utcoffset() or timedelta()) - (now.astimezone(home).utcoffset() or timedelta())
    if not ahead:
        return ""
    return f", {lasting(abs(ahead))} {'ahead' if ahead > timedelta(0) else 'behind'}"


# --- the person -------------------------------------------------------------------------------------------------------


def about_facts(card: LeadCard) -> list[Fact]:
    """Return the facts about the person, the company and the score."""
    person = _listed(unlinked(card.name), unlinked(card.title), _country(card.country))
    known = 1 <= card.employees <= EMPLOYEES_MAX
    size = f"{card.employees:,.0f} employee{'' if card.employees == 1 else 's'}" if known else ""
    company = _listed(unlinked(card.company), size, _country(card.company_country))
    score = f"{card.total:.0f}" + (f", grade {unlinked(card.grade, 10)}" if card.grade else "")
    facts = (("Person", person), ("Company", company), ("Score", score))
    return [Fact(label, (text,)) for label, text in facts if text]


def _listed(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def _country(text: str) -> str:
    code = country_code(text)
    return (country_name(code) if code else None) or unlinked(text, NAME_CHARS_MAX)


def reasons_of(card: LeadCard) -> tuple[str, ...]:
    """Return the top reasons of the score, in the words of the agreement."""
    return tuple(
        unlinked(reason.because) + (f", {reason.times} times" if reason.times > 1 else "")
        for reason in card.reasons
        if clean(reason.because)
    )


# --- the words and acts of the person ---------------------------------------------------------------------------------


def request_lines(card: LeadCard) -> tuple[str, ...]:
    """Return the person's own words, line by line. Words beyond the bounds end with an ellipsis."""
    if card.request is None:
        return ()
    lines: list[str] = []
    room = REQUEST_CHARS_MAX
    for line in filter(None, map(unlinked_line, card.request.text.splitlines())):
        if len(lines) == REQUEST_LINES_MAX or room <= 0:
            lines[-1] = lines[-1].removesuffix("…") + "…"
            break
        lines.append(clean(line, room))
        room -= len(line)
    return tuple(lines)


def unlinked_line(text: str) -> str:
    """Return one line of the person's words."""
    return unlinked(text, REQUEST_CHARS_MAX)


def request_label(card: LeadCard, now: datetime, zone: ZoneInfo) -> Line:
    """Return the origin of the words and their time."""
    if card.request is None:
        return ()
    form = _spoken(card.request.form)
    return (f"In their own words ({form}), " if form else "In their own words, ", earlier(card.request.at, now, zone))


def activity_lines(card: LeadCard, now: datetime, zone: ZoneInfo) -> tuple[Line, ...]:
    """Return the newest acts, newest first. Equal acts are one line with their number and the time of the newest."""
    groups: dict[str, list[RecentActivity]] = {}
    for act in card.activity:
        groups.setdefault(_act(act.type, act.subject), []).append(act)
    return tuple(
        (f"{text}, {len(acts)} times, last " if len(acts) > 1 else f"{text}, ", earlier(acts[0].at, now, zone))
        for text, acts in list(groups.items())[:ACTIVITY_MAX]
    )


@lru_cache(TEXTS_KEPT)
def _act(type: str, subject: str) -> str:
    bare, named = _ACTS.get(type, ("Was active", "Was active: {}"))
    if type == "page.viewed" and subject == "/":
        return named.format(HOME)
    text = unlinked(subject, SUBJECT_CHARS_MAX) if type.startswith("page") else _spoken(subject)
    return named.format(text) if text else bare


@lru_cache(TEXTS_KEPT)
def _spoken(name: str) -> str:
    """Return the name of a form or a paper as words: `demo-request` as `demo request`."""
    spaced = name if " " in name else name.replace("-", " ").replace("_", " ")
    return unlinked(spaced, SUBJECT_CHARS_MAX)
