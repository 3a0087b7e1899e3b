"""The qualify lines that an event meets, and the rules that suppress a person."""

from collections.abc import Mapping

from schemas.events.base import Facts, Value
from schemas.events.leads import MatchedLine, Score
from services.scoring.domain.profile import Profile
from services.scoring.domain.rules import ScoringRules


def matched_lines(
    profile: Profile, rules: ScoringRules, type: str, fields: Facts, known: Facts, scored: Score
) -> tuple[MatchedLine, ...]:
    """Return the qualify lines that an event meets, in the order of the agreement.

    A person without address and phone number meets none.

    Args:
        type: Of the event.
        fields: Of the event, without those that only FirstHour itself derives.
        known: The facts of the person.
    """
    if not (profile.email or profile.phone):
        return ()
    lines = rules.lines.get(type) or rules.lines[""]
    context = {**known, **fields}
    context["fit"], context["engagement"] = scored.fit, scored.engagement
    context["total"], context["grade"] = scored.total, scored.grade
    return tuple([lines.met[index] for index in lines.matches(context)])


def suppression(rules: ScoringRules, known: Mapping[str, Value]) -> str | None:
    """Return why this person is never scored and never routed; None: the person is not suppressed."""
    return next((because for because, holds in rules.suppress if holds(known)), None)
