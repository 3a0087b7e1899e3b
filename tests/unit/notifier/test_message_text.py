"""The wording of a page, and the cleaning of text from outside."""

import re
import unicodedata
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain import message_text, outside_text
from tests.fakes.pages import ATTACKS, NINE, hostile_message, page_message

ANYTHING = st.text(st.characters(), max_size=300)  # lone surrogates too


def test_first_subject_has_the_lead_the_deadline_and_the_time_left() -> None:
    assert message_text.words(page_message()).subject == "Hot lead: call Ann Lee (Acme) by 10:00 UTC, 58 minutes left"


def test_reminder_subject_starts_with_still_waiting() -> None:
    page = page_message(rung=1, written_at=NINE + timedelta(minutes=10))
    assert message_text.words(page).subject == "Still waiting: call Ann Lee (Acme) by 10:00 UTC, 50 minutes left"


def test_manager_page_states_the_missing_touch_and_the_owner() -> None:
    page = message_text.words(page_message(kind="manager", person_name="Mia", written_at=NINE + timedelta(minutes=20)))
    assert page.subject == "No contact yet with Ann Lee (Acme): 40 minutes left, until 10:00 UTC"
    assert ("Owner", "Bo Chen") in page.facts


def test_reassignment_pages_tell_the_new_and_the_former_owner() -> None:
    assert message_text.words(page_message(kind="reassigned")).subject.startswith(
        "Now yours: call Ann Lee (Acme) by 10:00 UTC"
    )
    former = message_text.words(page_message(kind="reassigned", person_name="Ana"))
    assert former.subject == "Moved on: Ann Lee (Acme) is now with Bo Chen"
    assert former.todo[0].startswith("Nothing")


def test_subject_after_the_promise_states_the_delay() -> None:
    late = NINE + timedelta(minutes=75)
    assert message_text.words(page_message(written_at=late)).subject == (
        "Overdue: call Ann Lee (Acme) now, promised by 10:00 UTC, 15 minutes ago"
    )
    assert message_text.words(page_message(written_at=late, kind="manager")).subject.startswith(
        "Overdue: no contact yet"
    )


def test_subject_without_phone_and_name_uses_the_address() -> None:
    page = message_text.words(page_message(card_phone="", card_name="", card_company=""))
    assert page.subject.startswith("Hot lead: write to ann@acme.example by")
    assert "Phone" not in dict(page.facts)


def test_promise_on_another_day_has_the_date() -> None:
    assert (
        "by 3 Dec 09:00 UTC, 1 day 23 h left"
        in message_text.words(page_message(promise_at=NINE + timedelta(days=2))).subject
    )


@pytest.mark.parametrize(
    ("span", "text"),
    [
        ({"seconds": 59}, "less than a minute"),
        ({"minutes": 1, "seconds": 59}, "1 minute"),
        ({"minutes": 59}, "59 minutes"),
        ({"hours": 2}, "2 h"),
        ({"hours": 2, "minutes": 5}, "2 h 5 min"),
        ({"days": 1}, "1 day"),
        ({"days": 3, "hours": 4}, "3 days 4 h"),
    ],
)
def test_span_is_written_in_words(span: dict[str, int], text: str) -> None:
    assert message_text.lasting(timedelta(**span)) == text


def test_plain_body_has_contact_reason_score_and_actions() -> None:
    body = message_text.words(page_message()).plain()
    for part in ("+493012345678", "ann@acme.example", "Asked for a demo", "78, grade A", "touch", "Accept", "Reject"):
        assert part in body
    assert "https://firsthour.example/leads/lead-1" in body


def test_only_well_formed_number_and_address_are_links_in_html() -> None:
    body = message_text.words(page_message()).html()
    assert 'href="tel:+493012345678"' in body
    assert 'href="mailto:ann@acme.example"' in body
    assert (
        "href"
        not in message_text.words(page_message(card_phone="+49 (0) 30", card_email="ann@acme", lead_url=None)).html()
    )


@pytest.mark.parametrize("field", ["name", "company", "title", "because", "source", "grade"])
@pytest.mark.parametrize("typed", ["ann@evil.com", "evil.com", "https://evil.com/x", "www.evil.com", "+49301234567"])
def test_text_from_outside_in_other_fields_is_never_a_link(field: str, typed: str) -> None:
    page = message_text.words(
        page_message(**{f"card_{field}": typed, "card_email": "", "card_phone": "", "lead_url": None})
    )
    shown = page.html() + page.plain()
    assert "href" not in shown
    assert "evil.com" not in shown
    assert "@evil" not in shown
    assert 'content="telephone=no"' in page.html()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Booking.com B.V.", "Booking .com B.V."),
        ("hand-raiser: form.submitted demo", "hand-raiser: form.submitted demo"),
        ("R. & D. Inc.", "R. & D. Inc."),
        ("ann@corp.co.uk", "ann @ corp .co .uk"),
        ("version 1.2", "version 1.2"),
    ],
)
def test_only_link_like_text_is_broken_up(typed: str, shown: str) -> None:
    assert outside_text.unlinked(typed) == shown


@given(ANYTHING)
def test_clean_text_is_one_visible_line_within_its_limit(raw: str) -> None:
    line = outside_text.clean(raw, 50)
    assert len(line) <= 50
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert "://" not in line
    assert line == outside_text.clean(line, 50)


@given(st.text("&<>;ampltg ", max_size=200), st.integers(1, 60))
def test_escaped_text_for_slack_has_no_markup_and_no_cut_entity(raw: str, chars_max: int) -> None:
    escaped = outside_text.slack(raw, chars_max)
    assert len(escaped) <= chars_max
    assert not set(escaped) & {"<", ">"}
    assert not re.sub("&(amp|lt|gt);", "", escaped).count("&")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_adds_no_tag_and_no_link_to_the_html(attack: str) -> None:
    parsed = _Tags()
    parsed.feed(message_text.words(hostile_message(attack)).html())
    assert not set(parsed.tags) - {"html", "head", "meta", "body", "h1", "table", "tr", "td", "p", "ul", "li", "a"}
    assert parsed.links == ["https://firsthour.example/leads/lead-1"]


@given(ANYTHING)
def test_any_text_leaves_the_lines_of_the_body_unchanged(raw: str) -> None:
    plain = message_text.words(hostile_message(raw)).plain()
    assert "What to do:\n- Contact the lead" in plain
    assert plain.isprintable() or {char for char in plain if not char.isprintable()} <= {"\n"}


@pytest.mark.parametrize(
    "text",
    ["a@b", "a b@c.example", "a@b.example\n", "<a@b.example>", "a@b.example,c@d.example", "ä@b.example", "@b.example"],
)
def test_address_that_is_not_plain_is_none(text: str) -> None:
    assert outside_text.address(text) is None


@pytest.mark.parametrize("url", ["javascript:alert(1)", 'https://x.example/"><b>', "https://x.example/a|b", "", None])
def test_url_with_unsafe_characters_is_left_out(url: str | None) -> None:
    assert message_text.words(page_message(lead_url=url)).url is None
