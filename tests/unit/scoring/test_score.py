"""The law of scores: the same events give the same score, in any order, however often they are delivered."""

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
Said = tuple[str, datetime, ExternalEvent]


def said(type: str, days_ago: float, email: str | None = "ada@firm.example", **person: Any) -> Said:
    fields: Facts = {"form": "demo-request"} if type == "form.submitted" else {"path": "/pricing"}
    at = NOW - timedelta(days=days_ago)
    return (
        type,
        at,
        ExternalEvent(source="s", source_id="1", received_at=NOW, email=email, person=person, fields=fields),
    )


def learned(*events: Said, with_rules: ScoringRules | None = None) -> Profile:
    profile = Profile()
    for type, at, happened in events:
        learn(profile, happened, type, at, with_rules or rules())
    return profile


events = st.lists(
    st.builds(
        said,
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
def test_any_order_of_the_same_events_gives_the_same_score(events: list[Said], seed: Any) -> None:
    shuffled = list(events)
    seed.shuffle(shuffled)
    one, other = learned(*events), learned(*shuffled)
    assert one.known() == other.known()
    assert score_of(one, rules(), NOW) == score_of(other, rules(), NOW)


@given(events=events, seed=st.randoms(use_true_random=False), stops=st.sets(st.integers(0, 13)))
def test_forgetting_old_hits_on_the_way_changes_no_score(events: list[Said], seed: Any, stops: set[int]) -> None:
    profile = Profile()
    for n, (type, at, happened) in enumerate(events):
        learn(profile, happened, type, at, rules())
        if n in stops:
            forget(profile, rules(), NOW - timedelta(days=seed.uniform(0, 30)))
    assert score_of(profile, rules(), NOW) == score_of(learned(*events), rules(), NOW)


@given(events=events, days=st.floats(0, 100))
def test_engagement_only_ever_decays_while_nothing_happens(events: list[Said], days: float) -> None:
    profile = learned(*events)
    later = score_of(profile, rules(), NOW + timedelta(days=days))
    assert later.engagement <= score_of(profile, rules(), NOW).engagement


@given(events=events)
def test_every_score_stays_within_what_was_agreed(events: list[Said]) -> None:
    scored = score_of(learned(*events), rules(), NOW)
    assert 0 <= scored.fit <= 100
    assert 0 <= scored.engagement <= 100
    assert 0 <= scored.total <= 100


@given(events=events)
def test_the_parts_add_up_to_the_score(events: list[Said]) -> None:
    profile = learned(*events)
    scored, parts = score_of(profile, rules(), NOW), parts_of(profile, rules(), NOW)
    fit = sum(part.worth for part in parts if part.kind == "fit")
    engagement = sum(part.worth for part in parts if part.kind == "engagement")
    assert scored.fit == min(100, max(0, fit))
    assert scored.engagement == pytest.approx(min(100, engagement), abs=0.005 * (len(parts) + 1))


def test_a_part_is_worth_half_after_its_half_life() -> None:
    assert score_of(learned(said("form.submitted", 14)), rules(), NOW).engagement == 30


def test_only_as_many_as_agreed_count_in_the_window() -> None:
    profile = learned(*(said("page.viewed", day) for day in (0, 1, 2)))
    counted = [part.counted for part in parts_of(profile, rules(), NOW) if part.because == "Prices"]
    assert counted == [True, True, False]


def test_a_later_event_that_arrives_first_does_not_lose_its_place() -> None:
    late, early = said("page.viewed", 0, title="CTO"), said("page.viewed", 5, title="Intern")
    assert learned(late, early).known()["title"] == "CTO"


def test_a_free_mailbox_costs_fit_and_fit_is_never_below_zero() -> None:
    assert score_of(learned(said("page.viewed", 0, email="x@gmail.com")), rules(), NOW).fit == 0


def test_a_recycled_lead_starts_again() -> None:
    profile = learned(said("form.submitted", 2))
    profile.recycled_at = int((NOW - timedelta(days=1)).timestamp() * 1_000_000)
    assert score_of(profile, rules(), NOW).engagement == 0


def test_the_lines_are_met_by_the_event_that_meets_them() -> None:
    profile = learned(said("form.submitted", 0, **LARGE))
    known = profile.known()
    scored = score_of(profile, rules(), NOW, known)
    met = matched_lines(profile, rules(), "form.submitted", {"form": "demo-request"}, known, scored)
    assert [(m.name, m.by_event) for m in met] == [("hand-raiser", True), ("score", False)]
    met = matched_lines(profile, rules(), "page.viewed", {"path": "/"}, known, scored)
    assert [m.name for m in met] == ["score"]


def test_somebody_nobody_can_reach_meets_no_line() -> None:
    profile = learned(said("form.submitted", 0, email=None, **LARGE))
    known = profile.known()
    assert matched_lines(profile, rules(), "form.submitted", {}, known, score_of(profile, rules(), NOW)) == ()


def test_our_own_people_are_suppressed_with_the_agreed_reason() -> None:
    assert suppression(rules(), learned(said("page.viewed", 0, email="me@us.example")).known()) == "Us"
