"""Words for the names of the agreement, so that people who never read the files understand its rules.

A name that is not here, as one of the author's own, is shown as it is written.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from babel import Locale
from babel.units import format_unit


def _(text: str) -> str:
    """Mark a text for the catalogue. The template translates it."""
    return text


FIELDS: Final[Mapping[str, str]] = {
    "name": _("name"),
    "title": _("job title"),
    "phone": _("phone number"),
    "language": _("language"),
    "country": _("country"),
    "email": _("mail address"),
    "email.domain": _("mail domain"),
    "email.kind": _("kind of mail address"),
    "consent": _("consent"),
    "company.name": _("company"),
    "company.domain": _("company domain"),
    "company.industry": _("industry"),
    "company.country": _("country of the company"),
    "company.employees": _("number of employees"),
    "company.revenue": _("revenue"),
    "utm.source": _("campaign source"),
    "utm.medium": _("campaign medium"),
    "utm.campaign": _("campaign name"),
    "fit": _("fit"),
    "engagement": _("engagement"),
    "total": _("total score"),
    "grade": _("grade"),
    "status": _("status"),
    "account.owner": _("owner of the account"),
    "previous_owner": _("previous owner"),
    "recycled.reason": _("reason of the return to Marketing"),
    "touches": _("touches"),
    "attempts.unanswered": _("attempts without an answer"),
    "attempts.total": _("attempts"),
    "opportunity.amount": _("amount of the opportunity"),
    "opportunity.stage": _("stage of the opportunity"),
    "form": _("form"),
    "path": _("page"),
    "url": _("address of the page"),
    "channel": _("channel"),
    "answered": _("answered"),
    "webinar": _("webinar"),
    "minutes": _("minutes"),
    "plan": _("plan"),
    "campaign": _("campaign"),
    "source": _("source"),
}
EVENTS: Final[Mapping[str, str]] = {
    "form.submitted": _("submits a form"),
    "page.viewed": _("views a page"),
    "content.downloaded": _("downloads something"),
    "webinar.attended": _("attends a webinar"),
    "trial.started": _("starts a trial"),
    "email.opened": _("opens a mail"),
    "email.clicked": _("clicks in a mail"),
    "email.bounced": _("cannot be reached by mail"),
    "email.unsubscribed": _("unsubscribes"),
    "meeting.booked": _("books a meeting"),
    "chat.started": _("starts a chat"),
    "consent.given": _("gives consent"),
    "consent.withdrawn": _("withdraws consent"),
    "lead.imported": _("comes with a list"),
    "lead.updated": _("has new facts"),
    "touch.recorded": _("is contacted"),
    "opportunity.changed": _("has a changed opportunity"),
}
OPERATORS: Final[Mapping[str, str]] = {
    "eq": _("is"),
    "ne": _("is not"),
    "in": _("is one of"),
    "not_in": _("is none of"),
    "gt": _("is above"),
    "gte": _("is at least"),
    "lt": _("is below"),
    "lte": _("is at most"),
    "between": _("is between"),
    "contains": _("contains"),
    "starts_with": _("starts with"),
    "ends_with": _("ends with"),
    "has_word": _("has the word"),
    "matches_domain": _("is in the domain"),
    "within": _("is at most this far from now"),
}
OF_LISTS: Final[Mapping[str, str]] = {
    "contains": _("contains one of"),
    "starts_with": _("starts with one of"),
    "ends_with": _("ends with one of"),
    "has_word": _("has one of the words"),
    "matches_domain": _("is in one of the domains"),
}
"""Operators that hold for one of several values."""
ACTORS: Final[Mapping[str, str]] = {
    "system": _("FirstHour"),
    "owner": _("the owner"),
    "manager": _("a manager"),
    "marketing": _("Marketing"),
    "sales": _("Sales"),
    "anyone": _("everyone"),
}
TEAMS: Final[Mapping[str, str]] = {"marketing": _("Marketing"), "sales": _("Sales"), "nobody": _("No team")}
RECIPIENTS: Final[Mapping[str, str]] = {
    "owner": _("the owner is paged"),
    "cover": _("the cover of the owner is paged"),
    "manager": _("the manager is paged"),
    "channel": _("a channel is told"),
}
FILES: Final[Mapping[str, str]] = {
    "agreement": _("agreement"),
    "team": _("team"),
    "sources": _("sources"),
}
STATUSES: Final[Mapping[str, str]] = {
    "new": _("new"),
    "nurturing": _("nurturing"),
    "qualified": _("qualified"),
    "assigned": _("assigned"),
    "accepted": _("accepted"),
    "working": _("working"),
    "opportunity": _("opportunity"),
    "customer": _("customer"),
    "disqualified": _("disqualified"),
    "opted-out": _("opted out"),
}
"""The statuses of the built-in lifecycle."""
GROUPS: Final[Mapping[str, str]] = {
    "source": _("source"),
    "campaign": _("campaign"),
    "form": _("form"),
    "persona": _("persona"),
    "grade": _("grade"),
    "rep": _("rep"),
    "team": _("team"),
    "cohort": _("time of arrival"),
    "urgency": _("urgency"),
    "day": _("day"),
    "week": _("week"),
    "month": _("month"),
    "weekday": _("weekday"),
    "hour": _("hour"),
}
"""The groups of reports, and the parts of a period."""
_OTHERS: Final[Mapping[str, str]] = {
    "all": _("all"),
    "waiting": _("waiting"),
    "unmatched": _("no lead matches"),
    "retried": _("retried"),
    "dropped": _("dropped"),
    "failed": _("failed"),
    "pending": _("waiting"),
    "sending": _("on its way"),
    "sent": _("sent"),
    "delivered": _("delivered"),
    "cancelled": _("no longer needed"),
    "cover": _("cover of the owner"),
    "owner": _("owner"),
    "manager": _("manager"),
    "reassigned": _("new owner"),
    "reminder": _("reminder"),
    "missed": _("promise missed"),
    "queued": _("no owner found"),
    "again": _("asked again"),
    "lost": _("taken away"),
    "handed_on": _("handed on"),
    "refused": _("refused"),
    "next_attempt": _("next attempt"),
    "test": _("trial"),
    "wrong": _("wrong"),
    "warning": _("warning"),
    "ok": _("in order"),
    "reject": _("given back"),
    "recycle": _("returned to Marketing"),
    "opt-out": _("opted out"),
    "marketing": _("Marketing"),
    "sales": _("Sales"),
    "nobody": _("no team"),
    "phone": _("phone"),
    "email": _("mail"),
    "meeting": _("meeting"),
    "rate_limit": _("too many messages at a time"),
    "quiet_hours": _("outside of the hours"),
}
WORDS: Final[Mapping[str, str]] = {**_OTHERS, **GROUPS, **STATUSES}
"""Words for the names of states, kinds and groups that the interface uses."""
_UNITS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_PART: Final = re.compile(r"([0-9]+)([dhms])")
VALUES_MAX: Final = 30  # of a list in a sentence


def duration(text: str, locale: Locale) -> str:
    """Return a duration of the agreement (`1h30m`) in words. Zero is empty."""
    parts = ((int(number), unit) for number, unit in _PART.findall(text))
    return " ".join(format_unit(number, f"duration-{_UNITS[unit]}", locale=locale) for number, unit in parts if number)


def test_of(node: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return field, operator and value of a condition that is one test."""
    ((field, test),) = node.items()
    ((operator, value),) = test.items()
    return field, operator, value


def operator_of(operator: str, value: Any) -> str:
    """Return the words of an operator before this value."""
    several = isinstance(value, list) and len(value) > 1
    return OF_LISTS.get(operator, OPERATORS[operator]) if several else OPERATORS[operator]


def languages(codes: Sequence[str], locale: Locale) -> str:
    """Return the names of languages; a code without a name stays."""
    return ", ".join(locale.languages.get(code.lower(), code) for code in codes)


def values(value: Any) -> list[str]:
    """Return the values of a test as texts; those beyond `VALUES_MAX` become dots."""
    items = value if isinstance(value, list) else [value]
    return [*map(_text, items[:VALUES_MAX]), *(["…"] if len(items) > VALUES_MAX else [])]


def plain(name: str, translate: Callable[[str], str]) -> str:
    """Return a name of the interface or the agreement in words. One that is not known stays, without its hyphens."""
    known = WORDS.get(name)
    return translate(known) if known is not None else name.replace("-", " ").replace("_", " ")


def number(value: float) -> str:
    """Return a number without decimals that are zero."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def urgencies(agreement: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the promise of each urgency, the most urgent first."""
    for name, value in agreement["response"].items():
        if isinstance(value, Mapping) and "touch_within" in value:
            yield name, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return number(value) if isinstance(value, int | float) else str(value)


_BROWSERS: Final = {"Edg": "Edge", "OPR/": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
_SYSTEMS: Final = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}
AGENT_CHARS_MAX: Final = 60


def browser(agent: str) -> str:
    """Return the browser and the system that a `User-Agent` names. One that is not known is shown as it is, shortened."""
    program = next((name for mark, name in _BROWSERS.items() if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in agent), None)
    return f"{program}, {system}" if program and system else agent[:AGENT_CHARS_MAX]
