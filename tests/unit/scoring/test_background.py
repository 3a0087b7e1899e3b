"""The background of a hand-over depends on the set of events, is bounded, and holds the newest words and acts."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.time_units import micros
from schemas.events.base import Facts
from schemas.events.leads import LeadBackground, LeadRequest, ScoreReason
from schemas.events.outside import ExternalEvent
from services.scoring.domain import background
from services.scoring.domain.background import ACTS_MAX, background_of, remember
from services.scoring.domain.profile import Profile, learn
from tests.unit.scoring.test_score import NOW, rules

Event = tuple[int, str, Facts]
"""Minutes before now, type, fields."""
TYPES = ("form.submitted", "page.viewed", "content.downloaded", "chat.started", "email.clicked", "lead.updated")


def profile_of(events: Sequence[Event]) -> Profile:
    profile = Profile()
    for minutes, type, fields in events:
        at = NOW - timedelta(minutes=minutes)
        person: Facts = {"company.employees": 400, "title": "CTO"}
        event = ExternalEvent(source="s", source_id="1", received_at=NOW, email="ada@x.example", person=person)
        learn(profile, msgspec.structs.replace(event, fields=fields), type, at, rules())
        remember(profile, type, fields, micros(at))
    return profile


def seen(*events: Event) -> LeadBackground:
    """Return the background after these events."""
    profile = profile_of(events)
    return background_of(profile, rules(), micros(NOW), profile.flat_facts())


@pytest.mark.parametrize(
    ("type", "fields", "subject"),
    [
        ("page.viewed", {"path": "/pricing?email=ann@x.example#top"}, "/pricing"),
        ("page.viewed", {"url": "https://us.example/docs?q=1"}, "/docs"),
        ("page.viewed", {}, ""),
        ("page.viewed", {"path": "?token=1"}, ""),
        ("form.submitted", {"form": "demo-request", "message": "Hello"}, "demo-request"),
        ("content.downloaded", {"content": 7}, "7"),
        ("email.clicked", {"link": "https://us.example/?secret=1", "campaign": "spring"}, "spring"),
        ("webinar.attended", {"webinar": "x" * 500}, "x" * (background.SUBJECT_BYTES_MAX - 3) + "…"),
        ("chat.started", {"message": "Hi"}, ""),
    ],
)
def test_act_is_stored_with_its_subject_and_without_queries(type: str, fields: Facts, subject: str) -> None:
    [act] = seen((5, type, fields)).activity
    assert (act.at, act.type, act.subject) == (NOW - timedelta(minutes=5), type, subject)


@pytest.mark.parametrize("type", ["lead.updated", "lead.imported", "consent.given", "touch.recorded", "custom.seat"])
def test_event_that_is_no_act_of_the_person_is_not_stored(type: str) -> None:
    assert seen((5, type, {"message": "a note", "path": "/"})).activity == ()
    assert seen((5, type, {"message": "a note", "path": "/"})).request is None


def test_newest_words_of_the_person_are_the_request() -> None:
    events: list[Event] = [
        (90, "form.submitted", {"form": "contact-sales", "message": "First"}),
        (30, "form.submitted", {"form": "demo-request", "message": " Call me\nplease "}),
        (10, "form.submitted", {"form": "newsletter"}),
        (5, "page.viewed", {"path": "/", "message": "no request"}),
    ]
    assert seen(*events).request == LeadRequest(NOW - timedelta(minutes=30), "Call me\nplease", "demo-request")
    assert seen((10, "chat.started", {"message": "Hi"})).request == LeadRequest(NOW - timedelta(minutes=10), "Hi")
    assert seen((10, "form.submitted", {"form": "x", "message": " \n "})).request is None


def test_reasons_are_the_largest_shares_of_the_total_and_never_the_negative_ones() -> None:
    form: Event = (0, "form.submitted", {"form": "demo-request"})
    views: list[Event] = [(n, "page.viewed", {"path": "/pricing"}) for n in range(1, 4)]
    assert seen(form, *views).reasons == (ScoreReason("Demo"), ScoreReason("Right size"), ScoreReason("Decides"))
    old: Event = (60 * 24 * 28, "form.submitted", {"form": "demo-request"})
    assert seen(old, *views).reasons == (ScoreReason("Right size"), ScoreReason("Decides"), ScoreReason("Demo"))
    profile = profile_of(views)
    facts: Facts = {"email.kind": "free"}
    assert background_of(profile, rules(), micros(NOW), facts).reasons == (ScoreReason("Prices", 2),)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.sampled_from(TYPES),
        st.fixed_dictionaries(
            {},
            optional={"form": st.sampled_from("ab"), "path": st.sampled_from("ab"), "message": st.sampled_from("ab")},
        ),
    ),
    max_size=3 * ACTS_MAX,
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_events_do_not_matter(events: list[Event], random: object) -> None:
    again = [*events, *events[: len(events) // 2]]
    random.shuffle(again)  # type: ignore[attr-defined]  # hypothesis gives a Random
    profile, other = profile_of(events), profile_of(again)
    assert (profile.activity, profile.request) == (other.activity, other.request)


@given(st.lists(st.text(st.characters(codec=None), max_size=300), min_size=1, max_size=12))
def test_background_of_any_text_is_bounded(texts: list[str]) -> None:
    events: list[Event] = [
        (n, TYPES[n % len(TYPES)], {"form": text, "path": text, "content": text, "message": text * 40})
        for n, text in enumerate(texts)
    ]
    shown = seen(*events)
    assert len(shown.activity) <= ACTS_MAX
    for act in shown.activity:
        assert len(act.subject.encode(errors="replace")) <= background.SUBJECT_BYTES_MAX
    if shown.request:
        assert len(shown.request.text.encode(errors="replace")) <= background.REQUEST_BYTES_MAX
