"""Profiles are bounded, and depend on the set of facts, not on the order of arrival."""

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events.base import Facts
from schemas.events.outside import ExternalEvent
from services.scoring.domain import bounds
from services.scoring.domain.profile import Profile, learn, retention_of
from services.scoring.domain.qualify import suppression
from tests.unit.scoring.test_score import NOW, rules

NAMED: dict[str, Any] = {"suppress": [{"because": "Pupil", "when": {"custom.school": {"exists": True}}}]}
DatedFacts = tuple[int, Facts]


def profile_of(events: Sequence[DatedFacts], **changes: Any) -> Profile:
    profile = Profile()
    for minutes, person in events:
        event = ExternalEvent(source="s", source_id="1", received_at=NOW, email="ada@firm.example", person=person)
        learn(profile, event, "lead.updated", NOW - timedelta(minutes=minutes), rules(**changes))
    return profile


def custom(profile: Profile) -> set[str]:
    return {name for name in profile.flat_facts() if name.startswith("custom.")}


def flood(events: int, fields: int, value: str = "x" * 2_000) -> list[DatedFacts]:
    """Return events with new field names each time, the newest first."""
    return [(n, {f"custom.junk_{n}_{field}": value for field in range(fields)}) for n in range(events)]


names = st.one_of(
    st.sampled_from(["title", "company.name", "custom.school", "phone"]),
    st.integers(0, 160).map(lambda n: f"custom.field_{n}"),
    st.sampled_from(["custom." + "ü" * 60, "custom." + "ü" * 61]),
)
values = st.one_of(
    st.sampled_from(["", "a", "b" * 56, "b" * 57, "c" * 2_000, "ü" * 2_000, "d" * 1_999 + "e"]),
    st.integers(-5, 5),
    st.booleans(),
    st.floats(0, 2),
)
person_facts = st.dictionaries(names, values, min_size=1, max_size=120)
histories = st.lists(st.tuples(st.integers(0, 6), person_facts), min_size=1, max_size=8)


@settings(deadline=None)  # the machine may be busy
@given(history=histories, chance=st.randoms(use_true_random=False))
def test_any_order_and_duplication_of_facts_gives_the_same_profile(history: list[DatedFacts], chance: Random) -> None:
    duplicated = [*history, *chance.choices(history, k=len(history))]
    chance.shuffle(duplicated)
    assert profile_of(duplicated, **NAMED) == profile_of(history, **NAMED)


@settings(deadline=None)  # the machine may be busy
@given(history=histories)
def test_profile_of_any_history_stays_within_its_bounds(history: list[DatedFacts]) -> None:
    profile = profile_of(history, **NAMED)
    assert len(custom(profile)) <= 100
    assert bounds.size(profile.flat_facts()) <= 32_768


@pytest.mark.parametrize("letter", ["x", "ü", "\U0001f600", '"'])
def test_profile_stays_small_after_a_flood_of_new_fields(letter: str) -> None:
    person: Facts = dict.fromkeys(sorted(bounds.STANDARD_FACTS), letter * 2_000)
    profile = profile_of([*flood(6, 120, letter * 2_000), (0, person)], **NAMED)
    assert len(custom(profile)) == 100
    assert bounds.size(profile.flat_facts()) <= 32_768
    assert len(msgspec.json.encode(profile)) < 100_000


def test_profile_at_every_bound_stays_within_32_kilobytes() -> None:
    when = {"any": [{f"custom.{n:03}{'y' * 62}": "x"} for n in range(60)]}
    changes = {"suppress": [{"because": "Many", "when": when}]}
    named: Facts = {next(iter(test)): "x" * 2_000 for test in when["any"]}
    person: Facts = dict.fromkeys(sorted(bounds.STANDARD_FACTS), "x" * 2_000)
    profile = profile_of([(0, named), (1, person), *flood(3, 120, "x" * 2_000)], **changes)
    assert len(custom(profile)) == 100
    assert 25_000 < bounds.size(profile.flat_facts()) <= 32_768


def test_newest_facts_are_kept_and_time_of_newest_dropped_fact_is_shown() -> None:
    profile = profile_of([(n, {f"custom.{n:03}": n}) for n in range(130)])
    assert custom(profile) == {f"custom.{n:03}" for n in range(100)}
    shown = retention_of(profile, rules(), NOW)
    assert (shown["custom_facts"], shown["facts_dropped_until"]) == (100, NOW - timedelta(minutes=100))


def test_facts_named_by_rules_are_not_displaced_by_newer_facts() -> None:
    profile = profile_of([(1_000, {"custom.school": "Lower"}), *flood(6, 120)], **NAMED)
    assert profile.flat_facts()["custom.school"] == "Lower"
    assert suppression(rules(**NAMED), profile.flat_facts(), NOW) == "Pupil"
    assert len(custom(profile)) == 100


def test_four_newest_long_texts_are_stored_in_full_and_others_shortened() -> None:
    texts = {n: str(n) * 500 for n in range(6)}
    facts = profile_of([(n, {f"custom.text_{n}": texts[n]}) for n in texts]).flat_facts()
    assert [facts[f"custom.text_{n}"] for n in range(4)] == [texts[n] for n in range(4)]
    assert facts["custom.text_5"] == "5" * 53 + "\u2026"


def test_hits_of_a_rule_are_bounded_and_time_of_newest_dropped_hit_is_shown() -> None:
    one, other = Profile(), Profile()
    times = [NOW - timedelta(minutes=n) for n in range(150)]
    for profile, order in ((one, times), (other, times[::-1])):
        for at in order:
            event = ExternalEvent(source="s", source_id="1", received_at=NOW, fields={"path": "/"})
            learn(profile, event, "page.viewed", at, rules())
    assert one == other
    assert len(one.hits["Prices"]) == bounds.HITS_MAX
    assert retention_of(one, rules(), NOW)["hits_dropped_until"] == NOW - timedelta(minutes=100)


def test_product_facts_in_an_event_are_ignored() -> None:
    profile = profile_of([(0, {"account.owner": "bo", "email.kind": "business", "grade": "A", "title": "CTO"})])
    assert profile.flat_facts().keys() == {"title", "email", "email.domain", "email.kind", "company.domain"}
    assert bounds.outside_fields({"account.owner": "bo", "total": 99, "path": "/"}) == {"path": "/"}


def test_fields_of_a_record_are_bounded_and_standard_names_come_first() -> None:
    fields: Facts = {**{f"a{n}": "ü" * 2_000 for n in range(200)}, "form": "demo-request"}
    bounded = bounds.bounded_fields(fields)
    assert bounded["form"] == "demo-request"
    assert bounds.size(bounded) <= bounds.FIELDS_BYTES_MAX
