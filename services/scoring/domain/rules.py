"""The scoring and qualify sections of an agreement, compiled once per version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.conditions.evaluation import Holds, Matched, compile_set, matches
from firsthour.kernel.config import Config
from schemas.agreement.scoring import EngagementRule, QualifyLine
from schemas.events.leads import MatchedLine
from services.scoring.domain.bounds import NamedFacts, named_facts
from services.scoring.domain.custom_facts import Declared, declared_facts

HALF_LIVES_KEPT = 12  # a hit older than this is worth 1/4096 of its points and is dropped
HORIZON_MAX = timedelta(days=400)
_US = 1_000_000


@dataclass(frozen=True)
class CompiledEngagement:
    """One engagement rule: its points and its limit."""

    key: str
    on: str  # the type of the event
    because: str
    points: float
    times: int | None  # None: no limit
    per_us: int

    def counted(self, hits: list[int]) -> list[int]:
        """Return the hits that count: a hit counts if fewer than `times` hits in the `per` before it count."""
        if self.times is None:
            return hits
        counting: list[int] = []
        for at in hits:
            if len(counting) < self.times or counting[-self.times] <= at - self.per_us:
                counting.append(at)
        return counting


@dataclass(frozen=True)
class Lines:
    """The compiled qualify lines for one type of event."""

    met: tuple[MatchedLine, ...]
    matches: Matched


@dataclass(frozen=True)
class ScoringRules:
    """The compiled scoring and qualify sections of an agreement."""

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
    lines: Mapping[str, Lines]  # by event type; empty string: lines without a type
    suppress: tuple[tuple[str, Holds], ...]
    named_facts: NamedFacts
    declared: Declared


@once_per_version
def rules_of(config: Config) -> ScoringRules:
    """Return the compiled rules of this configuration."""
    agreement = config.agreement
    scoring = agreement.scoring
    half_life = scoring.engagement.half_life
    horizon = min(HORIZON_MAX, half_life * HALF_LIVES_KEPT) if half_life else HORIZON_MAX
    by_type: dict[str, list[tuple[EngagementRule, CompiledEngagement]]] = {}
    for key, rule in _keyed(scoring.engagement.rules):
        limit = rule.at_most
        engagement = CompiledEngagement(
            key=key,
            on=rule.on,
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
        engagement={on: tuple(engagement for _, engagement in pairs) for on, pairs in by_type.items()},
        engagement_match={on: compile_set([rule.when for rule, _ in pairs]) for on, pairs in by_type.items()},
        by_key={engagement.key: engagement for pairs in by_type.values() for _, engagement in pairs},
        engagement_max=scoring.engagement.at_most,
        half_life_us=half_life.total_seconds() * _US if half_life else None,
        horizon_us=int(horizon.total_seconds() * _US),
        mix=(scoring.total.fit, scoring.total.engagement),
        grades=tuple(sorted(scoring.grades.items(), key=lambda band: -band[1])),
        lines={on: _lines(agreement.qualify, on) for on in {"", *(q.on for q in agreement.qualify if q.on)}},
        suppress=tuple((s.because, matches(s.when)) for s in agreement.suppress),
        named_facts=named_facts(agreement),
        declared=declared_facts(agreement.custom_fields),
    )


def _lines(qualify: Sequence[QualifyLine], type: str) -> Lines:
    lines = [line for line in qualify if line.on in (None, type)]
    matched_lines = tuple(MatchedLine(line.name, line.urgency, line.on is not None) for line in lines)
    return Lines(matched_lines, compile_set([line.when for line in lines]))


def _keyed(rules: tuple[EngagementRule, ...]) -> list[tuple[str, EngagementRule]]:
    """Return each rule with its key: the reason, with a number if it is repeated. Hits survive a reordering of the file."""
    counts: dict[str, int] = {}
    keyed = []
    for rule in rules:
        counts[rule.because] = n = counts.get(rule.because, 0) + 1
        keyed.append((rule.because if n == 1 else f"{rule.because} ({n})", rule))
    return keyed
