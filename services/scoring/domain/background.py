"""The background of a hand-over: the person's own words, recent activity, and the top reasons of the score.

A profile stores the newest request and the newest acts, each by its own time, so that the order of arrival has no effect.
Everything is bounded in bytes, because strangers write it.
"""

from bisect import insort
from collections.abc import Mapping
from typing import Final

from firsthour.kernel.time_units import moment
from schemas.events.base import Facts, Value
from schemas.events.leads import LeadBackground, LeadRequest, RecentActivity
from services.scoring.domain.bounds import shorten
from services.scoring.domain.profile import Profile
from services.scoring.domain.rules import ScoringRules
from services.scoring.domain.score import top_reasons

ACTS_MAX: Final = 8
SUBJECT_BYTES_MAX: Final = 80
REQUEST_BYTES_MAX: Final = 1_000

_SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "form.submitted": ("form",),
    "page.viewed": ("path", "url"),
    "content.downloaded": ("content", "path", "url"),
    "email.opened": ("subject", "campaign"),
    "email.clicked": ("subject", "campaign"),
    "webinar.attended": ("webinar",),
    "trial.started": ("plan",),
    "meeting.booked": ("meeting",),
    "chat.started": (),
}
"""The types of events that a page shows as activity, and the fields that name their subject, the first one first."""
_ADDRESSES: Final = frozenset({"path", "url"})
_WITH_WORDS: Final = frozenset({"form.submitted", "chat.started", "meeting.booked"})
"""The types of events whose `message` is a request of the person."""


def remember(profile: Profile, type: str, fields: Facts, when: int) -> None:
    """Store the event as activity, and its `message` as the newest request. `when`: microseconds."""
    names = _SUBJECTS.get(type)
    if names is None:
        return
    subject, acts = _subject(fields, names), profile.activity
    act = f"{when:016} {type} {subject}"  # one text is read and written three times as fast as its parts
    if not acts or act > acts[-1]:
        acts.append(act)
    elif act not in acts:
        insort(acts, act)
    del acts[:-ACTS_MAX]
    words = fields.get("message")
    if isinstance(words, str) and type in _WITH_WORDS and (words := words.strip()):
        request = (when, shorten(words, REQUEST_BYTES_MAX), subject if type == "form.submitted" else "")
        profile.request = request if profile.request is None else max(profile.request, request)


def _subject(fields: Facts, names: tuple[str, ...]) -> str:
    name = next((name for name in names if name in fields), None)
    if name is None:
        return ""
    text = str(fields[name])
    if name in _ADDRESSES:  # what follows can hold personal data, and says little
        text = text.partition("?")[0].partition("#")[0]
        _, absolute, rest = text.partition("://")
        text = f"/{rest.partition('/')[2]}" if absolute else text
    return shorten(text, SUBJECT_BYTES_MAX)


def _activity(act: str) -> RecentActivity:
    when, type, subject = act.split(" ", 2)
    return RecentActivity(moment(int(when)), type, subject)


def background_of(profile: Profile, rules: ScoringRules, now: int, facts: Mapping[str, Value]) -> LeadBackground:
    """Return the background as of `now` (microseconds). `facts`: of the profile."""
    request = profile.request
    return LeadBackground(
        request=None if request is None else LeadRequest(moment(request[0]), request[1], request[2]),
        activity=tuple(map(_activity, reversed(profile.activity))),
        reasons=top_reasons(profile, rules, now, facts),
    )
