"""The words of a page: what a rep reads, and what cannot hide in it."""

import re
import unicodedata
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain import message_text
from tests.fakes.pages import ATTACKS, NINE, hostile_message, page_message

ANYTHING = st.text(st.characters(), max_size=300)  # lone surrogates too


def test_the_first_page_says_whom_to_call_by_when_and_how_long_is_left() -> None:
    assert message_text.words(page_message()).subject == "Hot lead: call Ann Lee (Acme) by 10:00 UTC, 58 minutes left"


def test_a_reminder_says_that_the_lead_is_still_waiting() -> None:
    page = page_message(rung=1, written_at=NINE + timedelta(minutes=10))
    assert message_text.words(page).subject == "Still waiting: call Ann Lee (Acme) by 10:00 UTC, 50 minutes left"


def test_the_manager_reads_that_nobody_has_been_in_touch_and_whose_lead_it_is() -> None:
    page = message_text.words(page_message(kind="manager", person_name="Mia", written_at=NINE + timedelta(minutes=20)))
    assert page.subject == "Nobody has been in touch with Ann Lee (Acme): 40 minutes left, until 10:00 UTC"
    assert ("Owner", "Bo Chen") in page.facts


def test_the_new_owner_reads_that_the_lead_is_theirs_and_the_former_that_it_has_moved_on() -> None:
    assert message_text.words(page_message(kind="reassigned")).subject.startswith(
        "Now yours: call Ann Lee (Acme) by 10:00 UTC"
    )
    former = message_text.words(page_message(kind="reassigned", person_name="Ana"))
    assert former.subject == "Moved on: Ann Lee (Acme) is now with Bo Chen"
    assert former.todo[0].startswith("Nothing")


def test_after_the_promise_the_page_says_how_long_ago_it_ended() -> None:
    late = NINE + timedelta(minutes=75)
    assert message_text.words(page_message(written_at=late)).subject == (
        "Overdue: call Ann Lee (Acme) now, promised by 10:00 UTC, 15 minutes ago"
    )
    assert message_text.words(page_message(written_at=late, kind="manager")).subject.startswith(
        "Overdue: nobody has been in touch"
    )


def test_a_lead_without_a_phone_is_written_to_and_one_without_a_name_goes_by_the_address() -> None:
    page = message_text.words(page_message(card_phone="", card_name="", card_company=""))
    assert page.subject.startswith("Hot lead: write to ann@acme.example by")
    assert "Phone" not in dict(page.facts)


def test_a_promise_on_another_day_names_the_day() -> None:
    assert (
        "by 3 Dec 09:00 UTC, 1 day 23 h left"
        in message_text.words(page_message(promise_at=NINE + timedelta(days=2))).subject
    )


@pytest.mark.parametrize(
    ("span", "said"),
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
def test_a_span_is_said_as_people_say_it(span: dict[str, int], said: str) -> None:
    assert message_text.lasting(timedelta(**span)) == said


def test_the_plain_body_has_number_address_reason_score_and_what_to_do() -> None:
    body = message_text.words(page_message()).plain()
    for part in ("+493012345678", "ann@acme.example", "Asked for a demo", "78, grade A", "touch", "Accept", "Reject"):
        assert part in body
    assert "https://firsthour.example/leads/lead-1" in body


def test_only_a_well_formed_number_and_address_become_links_in_html() -> None:
    body = message_text.words(page_message()).html()
    assert 'href="tel:+493012345678"' in body
    assert 'href="mailto:ann@acme.example"' in body
    assert (
        "href"
        not in message_text.words(page_message(card_phone="+49 (0) 30", card_email="ann@acme", lead_url=None)).html()
    )


@pytest.mark.parametrize("field", ["name", "company", "title", "because", "source", "grade"])
@pytest.mark.parametrize("typed", ["ann@evil.com", "evil.com", "https://evil.com/x", "www.evil.com", "+49301234567"])
def test_what_a_stranger_types_into_another_field_becomes_no_link(field: str, typed: str) -> None:
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
def test_only_what_programs_take_for_a_link_is_broken_up(typed: str, shown: str) -> None:
    assert message_text.unlinked(typed) == shown


@given(ANYTHING)
def test_clean_text_is_one_visible_line_within_its_limit(raw: str) -> None:
    line = message_text.clean(raw, 50)
    assert len(line) <= 50
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert "://" not in line
    assert line == message_text.clean(line, 50)


@given(st.text("&<>;ampltg ", max_size=200), st.integers(1, 60))
def test_escaped_text_for_slack_has_no_control_character_and_no_half_entity(raw: str, chars_max: int) -> None:
    escaped = message_text.slack(raw, chars_max)
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
def test_no_attack_adds_a_tag_or_a_link_to_the_html(attack: str) -> None:
    parsed = _Tags()
    parsed.feed(message_text.words(hostile_message(attack)).html())
    assert not set(parsed.tags) - {"html", "head", "meta", "body", "h1", "table", "tr", "td", "p", "ul", "li", "a"}
    assert parsed.links == ["https://firsthour.example/leads/lead-1"]


@given(ANYTHING)
def test_whatever_was_typed_the_body_keeps_its_lines(raw: str) -> None:
    plain = message_text.words(hostile_message(raw)).plain()
    assert "What to do:\n- Be in touch" in plain
    assert plain.isprintable() or {char for char in plain if not char.isprintable()} <= {"\n"}


@pytest.mark.parametrize(
    "given_text",
    ["a@b", "a b@c.example", "a@b.example\n", "<a@b.example>", "a@b.example,c@d.example", "ä@b.example", "@b.example"],
)
def test_what_is_not_a_plain_address_is_none(given_text: str) -> None:
    assert message_text.address(given_text) is None


@pytest.mark.parametrize("url", ["javascript:alert(1)", 'https://x.example/"><b>', "https://x.example/a|b", "", None])
def test_a_url_that_could_end_its_place_is_left_out(url: str | None) -> None:
    assert message_text.words(page_message(lead_url=url)).url is None
