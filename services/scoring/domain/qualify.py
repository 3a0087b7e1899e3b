"""The qualify lines that an event meets, and the rules that suppress a person."""

from collections.abc import Mapping
from datetime import datetime

from firsthour.kernel.time_units import micros
from schemas.conditions.fields import NOW
from schemas.events.base import Facts, Value
from schemas.events.leads import MatchedLine, Score
from services.scoring.domain.profile import Profile
from services.scoring.domain.rules import ScoringRules


def matched_lines(
    profile: Profile, rules: ScoringRules, type: str, fields: Facts, facts: Facts, score: Score, now: datetime
) -> tuple[MatchedLine, ...]:
    """Return the qualify lines that an event meets, in the order of the agreement.

    A person without address and phone number meets no line.

    Args:
        type: The type of the event.
        fields: The fields of the event, without the facts that only FirstHour itself derives.
        facts: The facts of the person.
        now: The time at which the lines are judged.
    """
    if not (profile.email or profile.phone):
        return ()
    lines = rules.lines.get(type) or rules.lines[""]
    context = {**facts, **fields, NOW: micros(now)}
    context["fit"], context["engagement"] = score.fit, score.engagement
    context["total"], context["grade"] = score.total, score.grade
    return tuple([lines.met[index] for index in lines.matches(context)])


def suppression(rules: ScoringRules, facts: Mapping[str, Value], now: datetime) -> str | None:
    """Return why this person is never scored and never routed. None: the person is not suppressed."""
    dated = {**facts, NOW: micros(now)}
    return next((reason for reason, holds in rules.suppress if holds(dated)), None)
