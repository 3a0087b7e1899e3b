"""The facts and engagement hits of a person, and how an event changes them.

The state is a set of dated facts and dated hits, so that the order and the repetition of events cannot change a score. A
fact is the latest value (of equal times, the greater text). A hit is the time at which an engagement rule matched.
"""

from bisect import insort
from collections import Counter
from datetime import datetime
from typing import NamedTuple

import msgspec

from firsthour.kernel.normalisation.companies import company_domain
from firsthour.kernel.normalisation.emails import email_kind
from firsthour.kernel.time_units import micros, moment
from schemas.conditions.fields import NOW
from schemas.events.base import Facts, Value
from schemas.events.outside import ExternalEvent
from services.scoring.domain import bounds
from services.scoring.domain.bounds import DatedValue
from services.scoring.domain.custom_facts import typed
from services.scoring.domain.rules import ScoringRules


class Profile(msgspec.Struct, omit_defaults=True, gc=False):
    """The stored state of one person. Times are microseconds since the epoch."""

    version: int = 0
    active_at: int = 0  # the time of the latest event
    email: str | None = None
    phone: str | None = None
    phone_at: int = 0
    facts: dict[str, DatedValue] = {}  # by field
    texts: dict[str, DatedValue] = {}  # long values of custom facts in full; `facts` contains their beginning
    derived: Facts = {}
    hits: dict[str, list[int]] = {}  # by engagement rule: the times of matches, in order
    recycled_at: int | None = None  # hits up to this time do not count; None: never recycled
    facts_dropped_at: int | None = None  # time of the newest dropped fact; None: no fact was dropped
    hits_dropped_at: int | None = None  # time of the newest dropped hit; None: no hit was dropped
    activity: list[str] = []  # the newest visits, downloads ..., oldest first; written by `background`
    request: tuple[int, str, str] | None = None  # the newest message of the person: time, text, form

    def flat_facts(self) -> Facts:
        """Return the facts that conditions read, as a flat mapping."""
        facts = self.derived.copy()
        texts = self.texts
        for field, fact in self.facts.items():
            facts[field] = bounds.value_of(field, fact, texts) if field in texts else fact[0]
        if self.email:
            facts["email"] = self.email
        return facts


class DatedFact(NamedTuple):
    """A fact, and the time of the event that stated it (microseconds). None: it follows from the address."""

    field: str
    value: Value
    at: int | None


def dated_facts(profile: Profile) -> list[DatedFact]:
    """Return the facts of a person by field, without the address itself."""
    stated = [
        DatedFact(field, bounds.value_of(field, fact, profile.texts), fact[1]) for field, fact in profile.facts.items()
    ]
    return sorted([*stated, *(DatedFact(field, value, None) for field, value in profile.derived.items())])


def learn(
    profile: Profile,
    event: ExternalEvent,
    type: str,
    at: datetime,
    rules: ScoringRules,
    dropped: Counter[str] | None = None,
) -> Facts:
    """Add one event: its facts, and a hit for each engagement rule that it matches.

    Args:
        profile: Changed in place.
        type: The type of the event.
        at: The time of the event.
        dropped: Counts the values that the bounds reject, shorten or drop, by kind; None: not counted.

    Returns:
        The facts of the person after the event.
    """
    when = micros(at)
    profile.active_at = max(profile.active_at, when)
    dropped = Counter() if dropped is None else dropped
    _learn_facts(profile, event, type, when, rules, dropped)
    facts = profile.flat_facts()
    matched = rules.engagement_match.get(type)
    if matched is not None:
        for index in matched({**facts, **bounds.outside_fields(event.fields), NOW: when}):
            _add_hit(profile, rules.engagement[type][index].key, when, dropped)
    return facts


def _add_hit(profile: Profile, key: str, when: int, dropped: Counter[str]) -> None:
    hits = profile.hits.setdefault(key, [])
    insort(hits, when)
    if len(hits) > bounds.HITS_MAX:
        profile.hits_dropped_at = max(profile.hits_dropped_at or 0, hits.pop(0))
        dropped["hit"] += 1


def _learn_facts(
    profile: Profile, event: ExternalEvent, type: str, when: int, rules: ScoringRules, dropped: Counter[str]
) -> None:
    if event.email and profile.email is None:
        profile.email = event.email
        profile.derived = _derived_facts(event.email)
    person, phone = typed(rules.declared, event.person, event, type, dropped), event.phone
    if phone:
        person = {**person, "phone": phone}
        if bounds.replaces((phone, when), None if profile.phone is None else (profile.phone, profile.phone_at)):
            profile.phone, profile.phone_at = phone, when
    if not person:
        return
    dropped.update(bounds.learn(profile.facts, profile.texts, person, when, rules.named_facts))
    until, counts = bounds.drop_excess(profile.facts, profile.texts, rules.named_facts)
    if until is not None:
        profile.facts_dropped_at = max(profile.facts_dropped_at or 0, until)
    dropped.update(counts)


def _derived_facts(email: str) -> Facts:
    domain = email.rpartition("@")[2]
    kind = email_kind(domain)
    facts: Facts = {"email.domain": domain, "email.kind": kind}
    company = company_domain(domain) if kind == "business" else None
    if company:
        facts["company.domain"] = company
    return facts


def hits_in_horizon(profile: Profile, hits: list[int], rules: ScoringRules, now: int) -> list[int]:
    """Return the hits that still count: those within the horizon and after the last recycle. `now`: microseconds."""
    since = now - rules.horizon_us
    if profile.recycled_at is not None:
        since = max(since, profile.recycled_at)
    return hits if not hits or hits[0] > since else [at for at in hits if at > since]


def forget(profile: Profile, rules: ScoringRules, now: datetime) -> None:
    """Drop the hits that no longer count. No later score can depend on them."""
    if not profile.hits:
        return
    at = micros(now)
    for key, hits in list(profile.hits.items()):
        recent = hits_in_horizon(profile, hits, rules, at)
        if not recent:
            del profile.hits[key]
        elif len(recent) < len(hits):
            profile.hits[key] = recent


def retention_of(profile: Profile, rules: ScoringRules, now: datetime) -> dict[str, object]:
    """Return the amount that is stored about a person, and the times of the newest dropped fact and hit.

    The time of the hit is None if the hit would no longer count.
    """
    since = max(micros(now) - rules.horizon_us, profile.recycled_at or 0)
    facts_at, hits_at = profile.facts_dropped_at, profile.hits_dropped_at
    return {
        "custom_facts": sum(name not in bounds.STANDARD_FACTS for name in profile.facts),
        "fact_bytes": bounds.size(profile.flat_facts()),
        "hits": sum(map(len, profile.hits.values())),
        "facts_dropped_until": None if facts_at is None else moment(facts_at),
        "hits_dropped_until": None if hits_at is None or hits_at <= since else moment(hits_at),
    }
