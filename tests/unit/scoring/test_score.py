"""The same events give the same score, in any order and with any duplication."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.config import Config
from schemas.agreement.agreement import Agreement
from schemas.events.base import Facts
from schemas.events.outside import ExternalEvent
from schemas.sources import Sources
from schemas.team import Team
from services.scoring.domain.profile import Profile, forget, learn
from services.scoring.domain.qualify import matched_lines, suppression
from services.scoring.domain.rules import ScoringRules, rules_of
from services.scoring.domain.score import parts_of, score_of

TEAM = Team.model_validate(
    {
        "reps": [{"id": "ana", "name": "Ana", "email": "ana@us.example"}],
        "pools": [{"id": "all", "members": [{"rep": "ana"}]}],
    }
)
NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
AGREEMENT: dict[str, Any] = {
    "version": 1,
    "scoring": {
        "fit": {
            "at_most": 100,
            "rules": [
                {"points": 40, "because": "Right size", "when": {"company.employees": {"between": [50, 2000]}}},
                {"points": 25, "because": "Decides", "when": {"title": {"has_word": ["head", "cto"]}}},
                {"points": -40, "because": "Free mailbox", "when": {"email.kind": "free"}},
            ],
        },
        "engagement": {
            "at_most": 100,
            "half_life": "14d",
            "rules": [
                {"points": 60, "because": "Demo", "on": "form.submitted", "when": {"form": "demo-request"}},
                {"points": 5, "because": "Prices", "on": "page.viewed", "at_most": {"times": 2, "per": "7d"}},
            ],
        },
        "total": {"fit": 0.5, "engagement": 0.5},
        "grades": {"A": 70, "B": 50, "C": 30},
    },
    "qualify": [
        {
            "name": "hand-raiser",
            "urgency": "hot",
            "on": "form.submitted",
            "when": {"form": "demo-request", "fit": {"gte": 20}},
        },
        {"name": "score", "urgency": "warm", "when": {"total": {"gte": 30}}},
    ],
    "routing": {"rules": [{"name": "all", "pool": "all"}]},
    "response": {
        "hot": {"touch_within": "1h"},
        "warm": {"touch_within": "1h"},
        "ladder": [{"at": "0m", "page": "owner", "by": ["inbox"]}],
    },
    "suppress": [{"because": "Us", "when": {"email.domain": "us.example"}}],
}


def rules(**changes: Any) -> ScoringRules:
    agreement = Agreement.model_validate({**AGREEMENT, **changes})
    config = Config(agreement, TEAM, Sources(), version=repr(sorted(changes.items())))
    return rules_of(config)


LARGE: dict[str, Any] = {"company.employees": 100}
DatedEvent = tuple[str, datetime, ExternalEvent]


def dated_event(type: str, days_ago: float, email: str | None = "ada@firm.example", **person: Any) -> DatedEvent:
    fields: Facts = {"form": "demo-request"} if type == "form.submitted" else {"path": "/pricing"}
    at = NOW - timedelta(days=days_ago)
    return (
        type,
        at,
        ExternalEvent(source="s", source_id="1", received_at=NOW, email=email, person=person, fields=fields),
    )


def profile_of(*events: DatedEvent, with_rules: ScoringRules | None = None) -> Profile:
    profile = Profile()
    for type, at, event in events:
        learn(profile, event, type, at, with_rules or rules())
    return profile


events = st.lists(
    st.builds(
        dated_event,
        st.sampled_from(["form.submitted", "page.viewed", "email.clicked"]),
        st.floats(0, 60).map(lambda days: round(days, 3)),
        **{
            "title": st.sampled_from(["Head of IT", "CTO", "Intern"]),
            "company.employees": st.sampled_from([10, 100, 5000]),
        },
    ),
    max_size=14,
)


@given(events=events, seed=st.randoms(use_true_random=False))
def test_any_order_of_the_same_events_gives_the_same_score(events: list[DatedEvent], seed: Any) -> None:
    shuffled = list(events)
    seed.shuffle(shuffled)
    one, other = profile_of(*events), profile_of(*shuffled)
    assert one.flat_facts() == other.flat_facts()
    assert score_of(one, rules(), NOW) == score_of(other, rules(), NOW)


@given(events=events, seed=st.randoms(use_true_random=False), stops=st.sets(st.integers(0, 13)))
def test_dropping_old_hits_in_between_changes_no_score(events: list[DatedEvent], seed: Any, stops: set[int]) -> None:
    profile = Profile()
    for n, (type, at, event) in enumerate(events):
        learn(profile, event, type, at, rules())
        if n in stops:
            forget(profile, rules(), NOW - timedelta(days=seed.uniform(0, 30)))
    assert score_of(profile, rules(), NOW) == score_of(profile_of(*events), rules(), NOW)


@given(events=events, days=st.floats(0, 100))
def test_engagement_never_grows_without_events(events: list[DatedEvent], days: float) -> None:
    profile = profile_of(*events)
    later = score_of(profile, rules(), NOW + timedelta(days=days))
    assert later.engagement <= score_of(profile, rules(), NOW).engagement


@given(events=events)
def test_every_score_stays_within_the_limits_of_the_agreement(events: list[DatedEvent]) -> None:
    scored = score_of(profile_of(*events), rules(), NOW)
    assert 0 <= scored.fit <= 100
    assert 0 <= scored.engagement <= 100
    assert 0 <= scored.total <= 100


@given(events=events)
def test_parts_add_up_to_the_score(events: list[DatedEvent]) -> None:
    profile = profile_of(*events)
    scored, parts = score_of(profile, rules(), NOW), parts_of(profile, rules(), NOW)
    fit = sum(part.worth for part in parts if part.kind == "fit")
    engagement = sum(part.worth for part in parts if part.kind == "engagement")
    assert scored.fit == min(100, max(0, fit))
    assert scored.engagement == pytest.approx(min(100, engagement), abs=0.005 * (len(parts) + 1))


def test_hit_is_worth_half_after_its_half_life() -> None:
    assert score_of(profile_of(dated_event("form.submitted", 14)), rules(), NOW).engagement == 30


def test_hits_beyond_the_limit_of_a_rule_do_not_count() -> None:
    profile = profile_of(*(dated_event("page.viewed", day) for day in (0, 1, 2)))
    counted = [part.counted for part in parts_of(profile, rules(), NOW) if part.because == "Prices"]
    assert counted == [True, True, False]


def test_part_names_the_type_and_the_time_of_its_event() -> None:
    parts = parts_of(profile_of(dated_event("form.submitted", 2, **LARGE)), rules(), NOW)
    named = [(part.because, part.event, part.at) for part in parts]
    assert named == [("Right size", None, None), ("Demo", "form.submitted", NOW - timedelta(days=2))]


def test_later_event_that_arrives_first_is_not_overwritten() -> None:
    late, early = dated_event("page.viewed", 0, title="CTO"), dated_event("page.viewed", 5, title="Intern")
    assert profile_of(late, early).flat_facts()["title"] == "CTO"


def test_negative_points_reduce_fit_to_zero_at_most() -> None:
    assert score_of(profile_of(dated_event("page.viewed", 0, email="x@gmail.com")), rules(), NOW).fit == 0


def test_recycled_lead_has_no_engagement_from_before() -> None:
    profile = profile_of(dated_event("form.submitted", 2))
    profile.recycled_at = int((NOW - timedelta(days=1)).timestamp() * 1_000_000)
    assert score_of(profile, rules(), NOW).engagement == 0


def test_line_with_a_type_is_met_by_events_of_that_type_only() -> None:
    profile = profile_of(dated_event("form.submitted", 0, **LARGE))
    facts = profile.flat_facts()
    scored = score_of(profile, rules(), NOW, facts)
    met = matched_lines(profile, rules(), "form.submitted", {"form": "demo-request"}, facts, scored, NOW)
    assert [(m.name, m.by_event) for m in met] == [("hand-raiser", True), ("score", False)]
    met = matched_lines(profile, rules(), "page.viewed", {"path": "/"}, facts, scored, NOW)
    assert [m.name for m in met] == ["score"]


def test_person_without_address_and_phone_meets_no_line() -> None:
    profile = profile_of(dated_event("form.submitted", 0, email=None, **LARGE))
    facts = profile.flat_facts()
    assert matched_lines(profile, rules(), "form.submitted", {}, facts, score_of(profile, rules(), NOW), NOW) == ()


def test_suppressed_person_has_the_reason_of_the_agreement() -> None:
    assert (
        suppression(rules(), profile_of(dated_event("page.viewed", 0, email="me@us.example")).flat_facts(), NOW) == "Us"
    )
