"""The wording of a page, and the cleaning of text from outside."""

import re
import unicodedata
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.channels import mail_html
from services.notifier.domain import mail_parts, outside_text
from services.notifier.domain.message import Message
from services.notifier.domain.message_text import words
from services.notifier.domain.page import Kind
from services.notifier.domain.page_words import Words, text_of
from services.notifier.domain.times import lasting
from tests.fakes.pages import ATTACKS, NINE, hostile_message, page_message

ANYTHING = st.text(st.characters(), max_size=300)  # lone surrogates too


def plain(message: Message) -> str:
    return mail_parts.plain(mail_parts.mail_parts(message))


def html_body(message: Message) -> str:
    return mail_html.html_body(mail_parts.mail_parts(message))


def fact(page: Words, label: str) -> str:
    """Return the text of the fact with this label; empty: the page has none."""
    return next((text_of(each.line) for each in page.facts if each.label == label), "")


@pytest.mark.parametrize(
    ("minutes", "changes", "subject"),
    [
        (2, {}, "Hot lead: call Ann Lee (Acme) by 10:00 UTC"),
        (10, {"rung": 1}, "Still waiting: call Ann Lee (Acme) by 10:00 UTC"),
        (75, {"rung": 1}, "Overdue: call Ann Lee (Acme) now, promised by 10:00 UTC"),
        (20, {"kind": "manager"}, "No contact yet with Ann Lee (Acme), promised by 10:00 UTC"),
        (75, {"kind": "manager"}, "Overdue: no contact yet with Ann Lee (Acme), promised by 10:00 UTC"),
        (35, {"kind": "reassigned"}, "Now yours: call Ann Lee (Acme) by 10:00 UTC"),
        (35, {"kind": "reassigned", "person_name": "Ana"}, "Moved on: Ann Lee (Acme) is now with Bo Chen"),
        (10, {"kind": "cover", "person_name": "Cy"}, "Bo Chen does not answer: call Ann Lee (Acme) by 10:00 UTC"),
        (25, {"kind": "channel", "person_name": "#x"}, "No contact yet with Ann Lee (Acme), promised by 10:00 UTC"),
        (2, {"card_phone": ""}, "Hot lead: write to Ann Lee (Acme) by 10:00 UTC"),
        (2, {"card_name": "", "card_company": ""}, "Hot lead: call ann@acme.example by 10:00 UTC"),
        (2, {"zone": "Europe/Berlin"}, "Hot lead: call Ann Lee (Acme) by 11:00 CET"),
        (2, {"zone": "Asia/Kolkata"}, "Hot lead: call Ann Lee (Acme) by 15:30 IST"),
        (2, {"zone": "America/Sao_Paulo"}, "Hot lead: call Ann Lee (Acme) by 07:00 UTC-03"),
        (2, {"promise_at": NINE + timedelta(days=2)}, "Hot lead: call Ann Lee (Acme) by Thu 3 Dec 09:00 UTC"),
    ],
)
def test_subject_states_the_act_and_the_deadline_as_an_absolute_time(
    minutes: int, changes: dict[str, Any], subject: str
) -> None:
    page = words(page_message(**{"written_at": NINE + timedelta(minutes=minutes), **changes}))
    assert page.subject == subject
    assert not re.search(r"\d+ (minutes?|h|days?)\b", page.subject)
    assert not re.search(r"\d\d:\d\d", page.headline)


def test_former_owner_has_no_action_and_no_deadline() -> None:
    page = words(page_message(kind="reassigned", person_name="Ana"))
    assert page.todo[0].startswith("Please do not contact the person")
    assert (page.actions, fact(page, "Contact by")) == ((), "")


def test_manager_page_names_the_owner_and_offers_the_actions_of_a_manager() -> None:
    page = words(page_message(kind="manager", person_name="Mia"))
    assert fact(page, "Owner") == "Bo Chen"
    assert [action.label for action in page.actions] == ["Reached them", "No answer", "Hand over"]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_page_of_every_kind_has_sentences_and_names_no_internal_term(kind: Kind) -> None:
    page = words(page_message(kind=kind, lead_url=None))
    shown = plain(page_message(kind=kind, lead_url=None)) + html_body(page_message(kind=kind, lead_url=None))
    assert page.todo
    assert page.footer
    assert not re.search(r"lead-1|0192f3c4|epoch|rung|assignment|form\.submitted|page\.viewed|\{|\}", shown), shown


def test_owner_page_offers_every_action_once() -> None:
    actions = words(page_message()).actions
    assert [action.action for action in actions] == [
        "reached", "no_answer", "accept", "snooze", "hand_over", "reject",
    ]  # fmt: skip
    assert fact(words(page_message()), "Owner") == ""


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
    assert lasting(timedelta(**span)) == text


def test_plain_body_has_contact_reason_score_and_actions() -> None:
    body = plain(page_message())
    for part in (
        "+49 30 12345678",
        "ann@acme.example",
        "Asked for a demo",
        "78, grade A",
        "touch",
        "Accept",
        "Not a fit",
    ):
        assert part in body
    assert "https://firsthour.example/leads/lead-1" in body


def test_only_well_formed_number_and_address_are_links_in_html() -> None:
    body = html_body(page_message())
    assert 'href="tel:+493012345678"' in body
    assert 'href="mailto:ann@acme.example?subject=Your%20request"' in body
    assert "href" not in html_body(page_message(card_phone="+49 (0) 30", card_email="ann@acme", lead_url=None))


@pytest.mark.parametrize("field", ["name", "company", "title", "country", "zone", "grade"])
@pytest.mark.parametrize("typed", ["ann@evil.com", "evil.com", "https://evil.com/x", "www.evil.com", "+49301234567"])
def test_text_from_outside_in_other_fields_is_never_a_link(field: str, typed: str) -> None:
    page = page_message(**{f"card_{field}": typed, "card_email": "", "card_phone": "", "lead_url": None})
    shown = html_body(page) + plain(page)
    assert "href" not in shown
    assert "evil.com" not in shown
    assert "@evil" not in shown
    assert 'content="telephone=no"' in html_body(page)


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
    parsed.feed(html_body(hostile_message(attack)))
    assert not set(parsed.tags) - {
        "html",
        "head",
        "meta",
        "title",
        "body",
        "h1",
        "table",
        "tr",
        "td",
        "p",
        "ul",
        "li",
        "a",
        "blockquote",
        "br",
        "wbr",  # our own, behind the @ of an address
        "div",
    }
    assert parsed.links == ["https://firsthour.example/leads/lead-1"]


@given(ANYTHING)
def test_any_text_leaves_the_lines_of_the_body_unchanged(raw: str) -> None:
    body = plain(hostile_message(raw))
    assert "What to do:\n- Contact the lead" in body
    assert body.isprintable() or {char for char in body if not char.isprintable()} <= {"\n"}


@pytest.mark.parametrize(
    "text",
    ["a@b", "a b@c.example", "a@b.example\n", "<a@b.example>", "a@b.example,c@d.example", "ä@b.example", "@b.example"],
)
def test_address_that_is_not_plain_is_none(text: str) -> None:
    assert outside_text.address(text) is None


@pytest.mark.parametrize("url", ["javascript:alert(1)", 'https://x.example/"><b>', "https://x.example/a|b", "", None])
def test_url_with_unsafe_characters_is_left_out(url: str | None) -> None:
    assert words(page_message(lead_url=url)).url is None
