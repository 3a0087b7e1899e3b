"""The words about the lead: facts, the request, the activity and the reasons."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.leads import LeadRequest, RecentActivity, ScoreReason
from schemas.events.routes import LeadCard
from services.notifier.domain import card_text
from services.notifier.domain.page_words import Fact, text_of
from services.notifier.domain.times import zone_of
from tests.fakes.pages import ATTACKS, NINE

UTC = zone_of(None)


def texts(facts: list[Fact]) -> list[str]:
    return [f"{fact.label}: {text_of(fact.line)}" for fact in facts]


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        (LeadCard(), ["Score: 0"]),
        (
            LeadCard(
                name="Ann Lee", title="CTO", country="DE", company="Acme", employees=1, company_country="FR", total=9.6
            ),
            ["Person: Ann Lee, CTO, Germany", "Company: Acme, 1 employee, France", "Score: 10"],
        ),
        (
            LeadCard(company="acme.com", employees=12_500.0),
            ["Company: acme .com, 12,500 employees", "Score: 0"],
        ),
        (LeadCard(employees=1e300), ["Score: 0"]),
        (LeadCard(employees=0.3, country="somewhere", grade="B"), ["Person: somewhere", "Score: 0, grade B"]),
    ],
)
def test_facts_about_the_person_leave_out_what_is_unknown(card: LeadCard, shown: list[str]) -> None:
    assert texts(card_text.about_facts(card)) == shown


@pytest.mark.parametrize(
    ("type", "subject", "line"),
    [
        ("form.submitted", "demo-request", "Sent the form demo request"),
        ("form.submitted", "", "Sent a form"),
        ("page.viewed", "/pricing-and-plans", "Visited /pricing-and-plans"),
        ("page.viewed", "/", "Visited the home page"),
        ("page.viewed", "evil.com/docs", "Visited evil .com/docs"),
        ("content.downloaded", "Buyer's guide", "Downloaded Buyer's guide"),
        ("email.clicked", "", "Clicked in an email"),
        ("meeting.booked", "30 min call", "Booked a meeting: 30 min call"),
        ("custom.seats_added", "", "Was active"),
    ],
)  # fmt: skip
def test_act_is_told_in_plain_words(type: str, subject: str, line: str) -> None:
    [shown] = card_text.activity_lines(LeadCard(activity=(RecentActivity(NINE, type, subject),)), NINE, UTC)
    assert text_of(shown) == f"{line}, 09:00 UTC (less than a minute earlier)"


def test_equal_acts_are_one_line_with_their_number_and_the_newest_time() -> None:
    acts = tuple(RecentActivity(NINE - timedelta(minutes=n), "page.viewed", f"/{n % 2}") for n in range(1, 6))
    shown = card_text.activity_lines(LeadCard(activity=acts), NINE, UTC)
    assert [text_of(line) for line in shown] == [
        "Visited /1, 3 times, last 08:59 UTC (1 minute earlier)",
        "Visited /0, 2 times, last 08:58 UTC (2 minutes earlier)",
    ]
    many = tuple(RecentActivity(NINE, "page.viewed", f"/{n}") for n in range(9))
    assert len(card_text.activity_lines(LeadCard(activity=many), NINE, UTC)) == card_text.ACTIVITY_MAX


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One line", ("One line",)),
        ("First\r\n\r\n  Second\u2028Third", ("First", "Second", "Third")),
        ("See http://evil.example or evil.com", ("See http: //evil.example or evil .com",)),
        ("\n".join("abcdefghij"), (*"abcdefg", "h…")),
        ("\u202e \u200b", ()),
    ],
)
def test_request_is_shown_line_by_line(text: str, lines: tuple[str, ...]) -> None:
    assert card_text.request_lines(LeadCard(request=LeadRequest(NINE, text))) == lines


@pytest.mark.parametrize("text", [*ATTACKS, "word " * 2_000, "x\n" * 5_000])
def test_request_is_bounded_and_ends_with_an_ellipsis_if_cut(text: str) -> None:
    lines = card_text.request_lines(LeadCard(request=LeadRequest(NINE, text)))
    assert len(lines) <= card_text.REQUEST_LINES_MAX
    assert sum(map(len, lines)) <= card_text.REQUEST_CHARS_MAX + 1
    assert len(text) < card_text.REQUEST_CHARS_MAX or lines[-1].endswith("…")


@given(st.text(st.characters(codec=None), max_size=2_000))
def test_any_request_is_visible_lines_within_the_bounds(text: str) -> None:
    lines = card_text.request_lines(LeadCard(request=LeadRequest(NINE, text)))
    assert len(lines) <= card_text.REQUEST_LINES_MAX
    assert all(line.isprintable() and line.strip() for line in lines)
    assert sum(map(len, lines)) <= card_text.REQUEST_CHARS_MAX + 1


def test_request_label_names_the_form_and_the_time() -> None:
    card = LeadCard(request=LeadRequest(NINE, "Hello", "demo-request"))
    label = text_of(card_text.request_label(card, NINE + timedelta(hours=2), UTC))
    assert label == "In their own words (demo request), 09:00 UTC (2 h earlier)"
    assert card_text.request_label(LeadCard(), NINE, UTC) == ()


def test_reasons_are_the_words_of_the_agreement_with_their_number() -> None:
    card = LeadCard(reasons=(ScoreReason("Asked for a demo"), ScoreReason("Read about prices", 3), ScoreReason(" ")))
    assert card_text.reasons_of(card) == ("Asked for a demo", "Read about prices, 3 times")
