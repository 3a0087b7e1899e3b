"""Facts that rules test and people lack are counted per rule."""

from typing import Any

from firsthour.kernel.config import Config
from schemas.agreement.agreement import Agreement
from schemas.events.base import Facts
from schemas.sources import Sources
from services.scoring.domain.missing_facts import FieldGap, RuleGap, gaps, rule_facts
from tests.unit.scoring.test_score import AGREEMENT, TEAM

LARGE = {"points": 30, "because": "Large", "when": {"company.employees": {"gte": 100}, "not": {"custom.plan": "free"}}}
CALLED = {"points": 5, "because": "Can be called", "when": {"phone": {"exists": True}}}
DEMO = {"points": 9, "because": "Demo", "on": "form.submitted", "when": {"form": "demo", "title": {"has_word": "cto"}}}
SCORING: dict[str, Any] = {"fit": {"rules": [LARGE, CALLED]}, "engagement": {"rules": [DEMO]}}


def config(**changes: Any) -> Config:
    agreement = Agreement.model_validate({**AGREEMENT, "suppress": [], "scoring": SCORING, **changes})
    return Config(agreement, TEAM, Sources(), version=repr(sorted(changes.items())))


def test_missing_facts_are_counted_per_rule_and_field() -> None:
    people: list[Facts] = [
        {"company.employees": 50, "custom.plan": "team", "title": "CTO"},
        {"company.employees": 50},
        {"title": "CEO"},
    ]
    assert gaps(rule_facts(config()), people) == [
        RuleGap("scoring.fit", "Large", 2, (FieldGap("company.employees", 1), FieldGap("custom.plan", 2))),
        RuleGap("scoring.engagement", "Demo", 1, (FieldGap("title", 1),)),
    ]


def test_every_section_with_conditions_is_counted() -> None:
    when = {"country": "DE"}
    sections = {
        "qualify": [{"name": "q", "urgency": "hot", "on": "form.submitted", "when": when}],
        "routing": {"rules": [{"name": "r", "pool": "all", "when": when}]},
        "suppress": [{"because": "s", "when": when}],
        "recycle": [{"name": "c", "from": "working", "when": when, "reason": "stalled"}],
        "audiences": [{"name": "a", "when": when}],
        "personas": {"p": when},
        "segments": {"g": when},
    }
    found = {rule.section for rule in rule_facts(config(**sections))}
    assert found == {"scoring.fit", "scoring.engagement", *sections}


def test_people_with_all_facts_leave_no_gap() -> None:
    assert gaps(rule_facts(config()), [{"company.employees": 1, "custom.plan": "x", "title": "x"}]) == []
