"""Custom facts get the names and types that the agreement declares, whatever the order of events."""

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from schemas.agreement.custom_fields import CustomField
from schemas.events.base import Facts, Value
from schemas.events.outside import ExternalEvent
from services.scoring.domain.custom_facts import declared_facts, typed
from services.scoring.domain.profile import Profile, learn
from services.scoring.domain.score import score_of
from tests.unit.scoring.test_score import NOW, rules

FIELDS = {
    "seats": {"type": "number", "from": ["form", "crm"]},
    "plan": {"type": "text", "one_of": ["free", "Team"]},
    "renewal": {"type": "date"},
    "trial": {"type": "flag"},
}
DECLARED = declared_facts({name: CustomField.model_validate(field) for name, field in FIELDS.items()})


def event(person: Facts, **fields: Any) -> ExternalEvent:
    return ExternalEvent(source="s", source_id="1", received_at=NOW, person=person, **fields)


def facts_of(person: Facts, type: str = "form.submitted", **fields: Any) -> tuple[Facts, Counter[str]]:
    dropped: Counter[str] = Counter()
    return typed(DECLARED, person, event(person, **fields), type, dropped), dropped


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("seats", "1,200", 1200),
        ("Seats", "25", 25),
        ("PLAN", "team", "Team"),
        ("renewal", "2027-03-01", "2027-03-01"),
        ("renewal", "2027-03-01 09:00+01:00", "2027-03-01T08:00:00Z"),
        ("trial", "yes", True),
    ],
)
def test_declared_fact_has_its_name_and_type(name: str, value: Value, fact: Value) -> None:
    assert facts_of({f"custom.{name}": value, "title": "CTO"})[0] == {f"custom.{name.lower()}": fact, "title": "CTO"}


@pytest.mark.parametrize(
    ("name", "value"), [("seats", "many"), ("plan", "gold"), ("renewal", "soon"), ("trial", "perhaps"), ("seats", True)]
)
def test_value_of_another_type_is_dropped_and_counted(name: str, value: Value) -> None:
    assert facts_of({f"custom.{name}": value}) == ({}, Counter(untyped=1))


@pytest.mark.parametrize(
    ("type", "fields", "states"),
    [
        ("form.submitted", {}, True),
        ("lead.updated", {}, True),
        ("page.viewed", {"crm_id": "7"}, True),
        ("page.viewed", {}, False),
        ("lead.imported", {}, False),
    ],
)
def test_only_declared_origins_state_a_fact(type: str, fields: dict[str, Any], states: bool) -> None:
    facts, dropped = facts_of({"custom.seats": 5}, type, **fields)
    assert facts == ({"custom.seats": 5} if states else {})
    assert dropped == (Counter() if states else Counter(origin=1))


def test_exact_name_counts_more_than_another_spelling() -> None:
    people: list[Facts] = [{"custom.seats": 1, "custom.Seats": 2}, {"custom.Seats": 2, "custom.seats": 1}]
    for person in people:
        assert facts_of(person)[0] == {"custom.seats": 1}


def test_custom_facts_score_equally_in_any_order() -> None:
    fit = {"rules": [{"points": 30, "because": "Large", "when": {"custom.seats": {"gte": 100}}}]}
    own = rules(custom_fields=FIELDS, scoring={"fit": fit})
    events: list[tuple[str, Facts, int]] = [
        ("lead.updated", {"custom.seats": text}, n) for n, text in enumerate(["5", "many", "150", "1,5x"])
    ]
    for seed in range(6):
        profile = Profile()
        for type, person, n in Random(seed).sample(events * 2, len(events) * 2):
            learn(profile, event(person, email="ada@firm.example"), type, NOW - timedelta(days=9 - n), own)
        assert profile.flat_facts()["custom.seats"] == 150
        assert score_of(profile, own, NOW).fit == 30
