"""What is known of a person, and what it is worth: pure.

The state is a set of dated facts and dated hits, so that order and duplication of events cannot change a score: a
fact is the latest said (ties go to the greater text), a hit is the moment an engagement rule matched, and the score as
of a moment is a function of both.
"""

from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import fsum

import msgspec

from firsthour.kernel import normalisation
from firsthour.kernel.cache import once_per_version
from firsthour.kernel.conditions.evaluation import Holds, Matched, compile_set, matches
from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros, moment
from schemas.agreement import EngagementRule, QualifyLine
from schemas.events import ExternalEvent, Facts, MatchedLine, Score, Value
from services.scoring import bounds
from services.scoring.bounds import Agreed, Said

HALF_LIVES_KEPT = 12  # a hit older than this is worth 1/4096 of its points and is forgotten
LOWEST = "D"  # the grade below the last band
HORIZON_MAX = timedelta(days=400)
_US = 1_000_000


class Profile(msgspec.Struct, omit_defaults=True, gc=False):
    """One person. Times are microseconds since the epoch."""

    version: int = 0
    active_at: int = 0  # the time of the latest event
    email: str | None = None
    phone: str | None = None
    phone_at: int = 0
    facts: dict[str, Said] = {}  # field: (value, when it was said)
    texts: dict[str, Said] = {}  # longer values of custom facts, whole; `facts` holds their beginning
    derived: Facts = {}
    hits: dict[str, list[int]] = {}  # engagement rule: when it matched, in order
    recycled_at: int | None = None  # parts up to here count nothing
    facts_dropped_at: int | None = None  # when the newest fact beyond the bounds was said
    hits_dropped_at: int | None = None  # and the newest hit beyond them

    def known(self) -> Facts:
        """The flat facts conditions read."""
        known = self.derived.copy()
        texts = self.texts
        for field, said in self.facts.items():
            known[field] = bounds.value_of(field, said, texts) if field in texts else said[0]
        if self.email:
            known["email"] = self.email
        return known


class ScorePart(msgspec.Struct, frozen=True):
    """One reason of a score: `points` as agreed, `worth` as of the moment asked for."""

    kind: str  # fit or engagement
    because: str
    points: float
    worth: float
    at: datetime | None = None
    counted: bool = True


@dataclass(frozen=True)
class CompiledEngagement:
    """One engagement rule: how it matches, what it gives, how often it counts."""

    key: str
    because: str
    points: float
    times: int | None
    per_us: int

    def counted(self, hits: list[int]) -> list[int]:
        """Those that count: each, in event-time order, with fewer than `times` counted ones in the `per` before it."""
        if self.times is None:
            return hits
        kept: list[int] = []
        for at in hits:
            if len(kept) < self.times or kept[-self.times] <= at - self.per_us:
                kept.append(at)
        return kept


@dataclass(frozen=True)
class Lines:
    """The qualify lines that an event of one type may meet, ready to match, and what each is when met."""

    met: tuple[MatchedLine, ...]
    matches: Matched


@dataclass(frozen=True)
class ScoringRules:
    """An agreement's scoring, compiled once per version."""

    fit: Matched
    fit_rules: tuple[tuple[float, str], ...]
    fit_max: float
    engagement: Mapping[str, tuple[CompiledEngagement, ...]]  # by event type
    engagement_match: Mapping[str, Matched]
    by_key: Mapping[str, CompiledEngagement]
    engagement_max: float
    half_life_us: float | None
    horizon_us: int
    mix: tuple[float, float]
    grades: tuple[tuple[str, float], ...]  # highest first
    lines: Mapping[str, Lines]  # by event type; under the empty one those that name none
    suppress: tuple[tuple[str, Holds], ...]
    agreed: Agreed


@once_per_version
def rules_of(config: Config) -> ScoringRules:
    """The compiled rules of this configuration."""
    agreement = config.agreement
    scoring = agreement.scoring
    half_life = scoring.engagement.half_life
    horizon = min(HORIZON_MAX, half_life * HALF_LIVES_KEPT) if half_life else HORIZON_MAX
    by_type: dict[str, list[tuple[EngagementRule, CompiledEngagement]]] = {}
    for key, rule in _keyed(scoring.engagement.rules):
        limit = rule.at_most
        engagement = CompiledEngagement(
            key=key,
            because=rule.because,
            points=rule.points,
            times=limit.times if limit else None,
            per_us=int(limit.per.total_seconds() * _US) if limit else 0,
        )
        by_type.setdefault(rule.on, []).append((rule, engagement))
    return ScoringRules(
        fit=compile_set([rule.when for rule in scoring.fit.rules]),
        fit_rules=tuple((rule.points, rule.because) for rule in scoring.fit.rules),
        fit_max=scoring.fit.at_most,
        engagement={on: tuple(ours for _, ours in pairs) for on, pairs in by_type.items()},
        engagement_match={on: compile_set([rule.when for rule, _ in pairs]) for on, pairs in by_type.items()},
        by_key={ours.key: ours for pairs in by_type.values() for _, ours in pairs},
        engagement_max=scoring.engagement.at_most,
        half_life_us=half_life.total_seconds() * _US if half_life else None,
        horizon_us=int(horizon.total_seconds() * _US),
        mix=(scoring.total.fit, scoring.total.engagement),
        grades=tuple(sorted(scoring.grades.items(), key=lambda band: -band[1])),
        lines={on: _lines(agreement.qualify, on) for on in {"", *(q.on for q in agreement.qualify if q.on)}},
        suppress=tuple((s.because, matches(s.when)) for s in agreement.suppress),
        agreed=bounds.agreed(agreement),
    )


def _lines(qualify: Sequence[QualifyLine], type: str) -> Lines:
    chosen = [line for line in qualify if line.on in (None, type)]
    met = tuple(MatchedLine(line.name, line.urgency, line.on is not None) for line in chosen)
    return Lines(met, compile_set([line.when for line in chosen]))


def _keyed(rules: tuple[EngagementRule, ...]) -> list[tuple[str, EngagementRule]]:
    """Each rule under its reason; a reason used again gets a number, so that hits outlive a reordering of the file."""
    used: dict[str, int] = {}
    keyed = []
    for rule in rules:
        used[rule.because] = n = used.get(rule.because, 0) + 1
        keyed.append((rule.because if n == 1 else f"{rule.because} ({n})", rule))
    return keyed


def learn(
    profile: Profile,
    happened: ExternalEvent,
    type: str,
    at: datetime,
    rules: ScoringRules,
    lost: Counter[str] | None = None,
) -> Facts:
    """Take one event in: its facts, and the engagement rules it hits. What is known of the person now.

    `lost` counts what the bounds of a profile refuse, shorten or drop, by kind.
    """
    when = micros(at)
    profile.active_at = max(profile.active_at, when)
    lost = Counter() if lost is None else lost
    _say(profile, happened, when, rules, lost)
    known = profile.known()
    matched = rules.engagement_match.get(type)
    if matched is not None:
        for index in matched({**known, **bounds.own(happened.fields)}):
            _hit(profile, rules.engagement[type][index].key, when, lost)
    return known


def _hit(profile: Profile, key: str, when: int, lost: Counter[str]) -> None:
    hits = profile.hits.setdefault(key, [])
    insort(hits, when)
    if len(hits) > bounds.HITS_MAX:
        profile.hits_dropped_at = max(profile.hits_dropped_at or 0, hits.pop(0))
        lost["hit"] += 1


def _say(profile: Profile, happened: ExternalEvent, when: int, rules: ScoringRules, lost: Counter[str]) -> None:
    if happened.email and profile.email is None:
        profile.email = happened.email
        profile.derived = _derived(happened.email)
    person, phone = happened.person, happened.phone
    if phone:
        person = {**person, "phone": phone}
        if bounds.newer((phone, when), None if profile.phone is None else (profile.phone, profile.phone_at)):
            profile.phone, profile.phone_at = phone, when
    if not person:
        return
    lost.update(bounds.learn(profile.facts, profile.texts, person, when, rules.agreed))
    until, dropped = bounds.fit(profile.facts, profile.texts, rules.agreed)
    if until is not None:
        profile.facts_dropped_at = max(profile.facts_dropped_at or 0, until)
    lost.update(dropped)


def _derived(email: str) -> Facts:
    domain = email.rpartition("@")[2]
    kind = normalisation.email_kind(domain)
    facts: Facts = {"email.domain": domain, "email.kind": kind}
    company = normalisation.company_domain(domain) if kind == "business" else None
    if company:
        facts["company.domain"] = company
    return facts


def score(profile: Profile, rules: ScoringRules, now: datetime, known: Mapping[str, Value] | None = None) -> Score:
    """Fit, engagement, their mix and the grade, as of `now`."""
    fit = 0.0
    for index in rules.fit(profile.known() if known is None else known):
        fit += rules.fit_rules[index][0]
    fit = min(rules.fit_max, max(0.0, fit))
    engagement = _engagement(profile, rules, micros(now)) if profile.hits else 0.0
    total = fit * rules.mix[0] + engagement * rules.mix[1]
    return Score(_hundredths(fit), _hundredths(engagement), _hundredths(total), _grade(fit, rules))


def _hundredths(points: float) -> float:
    """Points are never negative here, so this rounds half up; and is a third of what `round` costs."""
    return int(points * 100.0 + 0.5) / 100.0


def _grade(fit: float, rules: ScoringRules) -> str:
    for name, least in rules.grades:
        if fit >= least:
            return name
    return LOWEST


def _engagement(profile: Profile, rules: ScoringRules, now: int) -> float:
    worths: list[float] = []
    for key, hits in profile.hits.items():
        rule = rules.by_key.get(key)
        if rule is not None:
            counted = rule.counted(_alive(profile, hits, rules, now))
            worths += [rule.points * _worth(now - at, rules) for at in counted]
    points = fsum(worths)  # exact, so that the order of the rules cannot show
    return min(rules.engagement_max, max(0.0, points))


def _alive(profile: Profile, hits: list[int], rules: ScoringRules, now: int) -> list[int]:
    since = now - rules.horizon_us
    if profile.recycled_at is not None:
        since = max(since, profile.recycled_at)
    return hits if not hits or hits[0] > since else [at for at in hits if at > since]


def _worth(age: int, rules: ScoringRules) -> float:
    return 1.0 if rules.half_life_us is None else 2.0 ** (-max(0, age) / rules.half_life_us)


def met(
    profile: Profile, rules: ScoringRules, type: str, fields: Facts, known: Facts, scored: Score
) -> tuple[MatchedLine, ...]:
    """The qualify lines this event meets, in the agreement's order. Somebody nobody can reach meets none. `fields`: the
    event's, without those that only the product states."""
    if not (profile.email or profile.phone):
        return ()
    lines = rules.lines.get(type) or rules.lines[""]
    context = {**known, **fields}
    context["fit"], context["engagement"] = scored.fit, scored.engagement
    context["total"], context["grade"] = scored.total, scored.grade
    return tuple([lines.met[index] for index in lines.matches(context)])


def suppressed(rules: ScoringRules, known: Mapping[str, Value]) -> str | None:
    """Why this person is never scored and never routed, or None."""
    return next((because for because, holds in rules.suppress if holds(known)), None)


def forget(profile: Profile, rules: ScoringRules, now: datetime) -> None:
    """Drop hits beyond the horizon: no later score can depend on them."""
    if not profile.hits:
        return
    at = micros(now)
    for key, hits in list(profile.hits.items()):
        alive = _alive(profile, hits, rules, at)
        if not alive:
            del profile.hits[key]
        elif len(alive) < len(hits):
            profile.hits[key] = alive


def parts(profile: Profile, rules: ScoringRules, now: datetime) -> list[ScorePart]:
    """Every reason of the score as of `now`; hits beyond a rule's limit are shown as not counted."""
    facts = profile.known()
    found = [
        ScorePart("fit", rules.fit_rules[i][1], rules.fit_rules[i][0], rules.fit_rules[i][0]) for i in rules.fit(facts)
    ]
    at = micros(now)
    for key, hits in profile.hits.items():
        rule = rules.by_key.get(key)
        if rule is None:
            continue
        alive = _alive(profile, hits, rules, at)
        left = Counter(rule.counted(alive))
        for hit in alive:
            counts = left[hit] > 0
            left[hit] -= 1
            worth = round(rule.points * _worth(at - hit, rules), 2) if counts else 0.0
            found.append(ScorePart("engagement", rule.because, rule.points, worth, moment(hit), counts))
    return found


def kept(profile: Profile, rules: ScoringRules, now: datetime) -> dict[str, object]:
    """How much of a person is kept, and up to when facts or hits were dropped that would count otherwise."""
    since = max(micros(now) - rules.horizon_us, profile.recycled_at or 0)
    facts_at, hits_at = profile.facts_dropped_at, profile.hits_dropped_at
    return {
        "custom_facts": sum(name not in bounds.KNOWN for name in profile.facts),
        "fact_bytes": bounds.size(profile.known()),
        "hits": sum(map(len, profile.hits.values())),
        "facts_dropped_until": None if facts_at is None else moment(facts_at),
        "hits_dropped_until": None if hits_at is None or hits_at <= since else moment(hits_at),
    }
